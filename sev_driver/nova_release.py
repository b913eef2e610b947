# SPDX-License-Identifier: Apache-2.0

"""The differences between Nova releases, as values. Does not import Nova.

The driver uses the release that is installed, the doctor that of the cloud.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from sev_driver.model import SEV, SEV_ES, SEV_SNP, ForeignModel, MemoryEncryptionModel

#: 2023.1, the oldest release that this driver works with.
OLDEST_NOVA: Final = 27
#: 2026.2, the newest release that this driver was tested with.
NEWEST_NOVA: Final = 34

#: The first release whose API knows a value of ``hw_mem_encryption_model``
#: (nova.objects.fields.MemEncryptionModel).
_MODELS_SINCE: Final = {
    SEV.value: 32,
    SEV_ES.value: 32,
    SEV_SNP.value: 34,
    ForeignModel.INTEL_TDX.value: 34,
}

#: The first release that requires an os-traits with the trait of a model.
_TRAITS_SINCE: Final = {SEV: OLDEST_NOVA, SEV_ES: 31, SEV_SNP: 34}

#: The highest minor version of the compute API, and the releases that have it
#: (nova, rest_api_version_history.rst).
_COMPUTE_API: Final = ((95, (27, 28)), (96, (29, 30)), (100, (31, 32)), (103, (33,)))


#: The service version that a release was tagged with, and the release
#: (nova.objects.service). A release without a new version shares that of the next.
_SERVICE_VERSIONS: Final = ((66, 28), (67, 30), (68, 31), (70, 32), (72, 33), (74, 34))


@dataclasses.dataclass(frozen=True)
class NovaRelease:
    """One release, by its major version: 27 is 2023.1, 34 is 2026.2.

    :param known_models: the models that the installed Nova knows; None: those that
        the release had when it was published.
    """

    number: int
    known_models: frozenset[str] | None = None

    @property
    def is_supported(self) -> bool:
        """True if this driver works with the release."""
        return self.number >= OLDEST_NOVA

    @property
    def models(self) -> frozenset[str]:
        """The values of ``hw_mem_encryption_model`` that the release knows."""
        if self.known_models is not None:
            return self.known_models
        since = _MODELS_SINCE.items()
        return frozenset(name for name, first in since if self.number >= first)

    @property
    def foreign_models(self) -> frozenset[ForeignModel]:
        """The models of other vendors that Nova supports.

        Models that this driver does not know are left out: it cannot verify them.
        """
        return frozenset(model for model in ForeignModel if model.value in self.models)

    @property
    def stock_models(self) -> frozenset[MemoryEncryptionModel]:
        """The AMD models that Nova's own driver supports."""
        known = {model for model in MemoryEncryptionModel if model.value in self.models}
        return frozenset(known | {SEV})

    @property
    def scheduler_chooses_model(self) -> bool:
        """True if Nova asks Placement for a slot of one model (since 32.0.0).

        It asks for SEV if no model is named. Older releases ask for a slot of any
        model.
        """
        return self.number >= 32

    @property
    def selects_firmware(self) -> bool:
        """True if Nova selects the guest firmware; since 33.0.0 libvirt does."""
        return self.number < 33

    @property
    def requires_stateless_firmware_trait(self) -> bool:
        """True if Nova requires a trait for ``hw_firmware_stateless``."""
        return self.number >= 30

    @property
    def shows_guests_at_start(self) -> bool:
        """True if Nova passes all instances of the host to its driver at startup."""
        return self.number >= 34

    def ignores_model_in_firmware_selection(self, model: MemoryEncryptionModel) -> bool:
        """Return whether Nova selects the guest firmware without regard to ``model``.

        It takes the first descriptor with or without Secure Boot, as requested. Only
        for SEV is that always suitable.
        """
        return self.selects_firmware and model is not SEV

    def accepts_image_model(self, model: MemoryEncryptionModel) -> bool:
        """Return whether the API accepts ``model`` in ``hw_mem_encryption_model``.

        A release that does not know the property accepts any value.
        """
        return self.reads_image_model(model.value)

    def reads_image_model(self, value: str) -> bool:
        """Return whether Nova can read ``value`` of ``hw_mem_encryption_model``.

        A release that knows the property but not the value raises a ValueError for
        each server of such an image when nova-compute starts. A release that does not
        know the property stores any value, which a later release then reads.
        """
        return not self.models or value in self.models

    def has_standard_trait(self, model: MemoryEncryptionModel) -> bool:
        """Return whether the release's os-traits includes the trait of ``model``."""
        return self.number >= _TRAITS_SINCE[model]


def releases_that_cannot_read(value: str) -> tuple[int, ...]:
    """Return the releases that cannot read this value of ``hw_mem_encryption_model``.

    There, nova-compute does not start on a host of a server with it.
    """
    every = range(OLDEST_NOVA, NEWEST_NOVA + 1)
    return tuple(n for n in every if not NovaRelease(n).reads_image_model(value))


def of_service_version(version: int) -> int:
    """Return the release that has this service version, or was developed from it.

    :param version: ``nova.objects.service.SERVICE_VERSION``. For a version newer than
        all known, the newest release is returned.
    """
    if version < _SERVICE_VERSIONS[0][0]:
        return OLDEST_NOVA - 1
    return next((n for last, n in _SERVICE_VERSIONS if version <= last), NEWEST_NOVA)


def releases_with_compute_api(minor: int) -> tuple[int, ...]:
    """Return the releases whose compute API goes up to 2.``minor``."""
    for maximum, numbers in _COMPUTE_API:
        if minor <= maximum:
            return numbers
    return (NEWEST_NOVA,)
