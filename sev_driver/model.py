# SPDX-License-Identifier: Apache-2.0

"""The models of memory encryption: AMD's, and those of other vendors."""

from __future__ import annotations

import enum
from typing import Union

import os_traits


class MemoryEncryptionModel(enum.Enum):
    """One model of AMD SEV; the values are Nova's own (since 32.0.0)."""

    AMD_SEV = "amd-sev"
    AMD_SEV_ES = "amd-sev-es"
    AMD_SEV_SNP = "amd-sev-snp"

    @property
    def title(self) -> str:
        """The model's name in messages, such as ``AMD SEV-ES``."""
        return f"AMD {self.short_title}"

    @property
    def short_title(self) -> str:
        """The title without the vendor, such as ``SEV-ES``."""
        return self.value.removeprefix("amd-").upper()

    @property
    def kvm_parameter(self) -> str:
        """The parameter of kvm_amd that enables the model, such as ``sev_es``."""
        return self.symbol.removeprefix("amd_")

    @property
    def firmware_feature(self) -> str:
        """The feature that names the model in QEMU's firmware descriptors."""
        return self.value

    @property
    def symbol(self) -> str:
        """The suffix of stock Nova's provider names, such as ``amd_sev``."""
        return self.value.replace("-", "_")

    @property
    def trait(self) -> str:
        """The standard trait of hosts that offer this model (os-traits)."""
        name = f"HW_CPU_X86_{self.symbol.upper()}"
        return str(getattr(os_traits, name, name))

    @property
    def supports_smm(self) -> bool:
        """True if a guest can have System Management Mode, which Secure Boot needs.

        QEMU does not start other guests with it ("SEV-ES guest does not support SMM").
        """
        return self is MemoryEncryptionModel.AMD_SEV


class ForeignModel(enum.Enum):
    """A model of another vendor; the values are Nova's own.

    Nova builds the domains of such guests. This driver only verifies that they are
    encrypted as requested.
    """

    #: Since Nova 34.0.0.
    INTEL_TDX = "intel-tdx"

    @property
    def title(self) -> str:
        """The model's name in messages, such as ``Intel TDX``."""
        vendor, _, name = self.value.partition("-")
        return f"{vendor.title()} {name.upper()}"

    @property
    def symbol(self) -> str:
        """The suffix of Nova's provider names, such as ``intel_tdx``."""
        return self.value.replace("-", "_")

    @property
    def launch_security(self) -> str:
        """The type of libvirt's ``<launchSecurity>`` element for the model."""
        return _LAUNCH_SECURITY[self]


_LAUNCH_SECURITY = {ForeignModel.INTEL_TDX: "tdx"}

#: Any model that a guest can ask for.
AnyModel = Union[MemoryEncryptionModel, ForeignModel]


def is_weaker(model: AnyModel | None, other: AnyModel) -> bool:
    """Return whether a guest with ``model`` is protected less than with ``other``.

    Each model of AMD adds to the one before it. Models of two vendors cannot be
    compared: to the owner of a guest with one, the other is not as good.

    :param model: None for a guest in the clear.
    """
    order = list(MemoryEncryptionModel)
    if model in order and other in order:
        return order.index(model) < order.index(other)
    return model is not other


SEV = MemoryEncryptionModel.AMD_SEV
SEV_ES = MemoryEncryptionModel.AMD_SEV_ES
SEV_SNP = MemoryEncryptionModel.AMD_SEV_SNP

#: The trait of a host's root resource provider while this driver offers slots there. A
#: flavor can require it, to keep encrypted guests off hosts with Nova's own driver, or
#: forbid it, to keep plain guests off hosts with SEV. The traits of the models cannot
#: do the latter: since Nova 32 they are on child providers.
HOST_TRAIT = "CUSTOM_AMD_SEV_HOST"
