# SPDX-License-Identifier: Apache-2.0

"""Parse flavor extra specs and image properties into a GuestRequest.

nova-compute does this for its instances, the doctor for flavors and images of a cloud.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sev_driver.guest import model_selection, near_misses
from sev_driver.guest.model_selection import (
    FLAVOR_KEY,
    IMAGE_KEY,
    IMAGE_MODEL_KEY,
    ModelRequest,
)
from sev_driver.guest.near_misses import NearMiss
from sev_driver.guest.requirements import ForeignRequest, GuestRequest, Setting
from sev_driver.host import facts
from sev_driver.model import HOST_TRAIT, MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease

#: The keys of PCI devices, and of vGPUs (in numbered groups as well) and accelerators.
_PASSTHROUGH_KEY = re.compile(r"pci_passthrough:alias")
_MEDIATED_KEY = re.compile(r"accel:device_profile|resources\w*:(VGPU|PGPU)")


@dataclasses.dataclass(frozen=True)
class FlavorSpecs:
    """A flavor's name and extra specs."""

    name: str
    extra_specs: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class ImageProperties:
    """An image's name in messages, such as ``image 1``, and all its properties.

    Properties that Nova does not know are included.
    """

    title: str
    properties: Mapping[str, str]

    @classmethod
    def of(cls, title: str, raw: Mapping[str, str]) -> ImageProperties:
        """Convert the properties as Glance has them: Nova renames some old ones."""
        older: dict[str, str] = {}
        adapter = raw.get("vmware_adaptertype")
        if adapter == "ide":
            older = {"hw_disk_bus": "ide"}
        elif adapter:
            older = {"hw_disk_bus": "scsi", "hw_scsi_model": adapter}
        properties = {**older, **raw}
        if "hw_scsi_model" in properties:
            properties["hw_scsi_model"] = properties["hw_scsi_model"].lower()
        return cls(title, properties)


def parse_request(
    flavor: FlavorSpecs,
    image: ImageProperties,
    release: NovaRelease,
    default_machine: Setting | None = None,
    slot_already_allocated: bool = False,
) -> GuestRequest | None:
    """Return the request for AMD SEV, None if flavor and image do not ask for it.

    :func:`parse_foreign_request` returns requests for models of other vendors.

    :param release: the Nova that runs the guest.
    :param default_machine: the machine type if the image does not set one.
    :param slot_already_allocated: true if the scheduler's choice of a slot no longer
        matters.
    """
    settings = _settings(flavor, image)
    requesters = [each for each in settings if each.asks]
    if not requesters or parse_foreign_request(flavor, image, release) is not None:
        return None
    by_nova = [each for each in requesters if each.key != model_selection.MODEL_KEY]
    models = _model_requests(flavor, image)
    if not slot_already_allocated and release.scheduler_chooses_model:
        models = _default_model(flavor, image, by_nova) + models
    selected = model_selection.select(models)
    properties = image.properties
    denial = _denial(settings)
    return GuestRequest(
        model=selected.model,
        # Next to one of Nova's keys, sev:model only names the model.
        requesters=tuple(map(str, by_nova or requesters)),
        machine_type=_setting(image, "hw_machine_type") or default_machine,
        firmware_type=properties.get("hw_firmware_type"),
        firmware_stateless=bool(is_true(properties.get("hw_firmware_stateless"))),
        conflict=denial or selected.conflict,
        conflict_remedy=model_selection.AGREE if denial else selected.remedy,
        misspelt_models=tuple(
            miss
            for miss in misspelt_keys(flavor, image)
            if miss.meant_model not in (None, selected.model.value)
        ),
        disk_bus=_setting(image, "hw_disk_bus"),
        scsi_model=properties.get("hw_scsi_model"),
        passthrough=_matching(flavor, _PASSTHROUGH_KEY),
        mediated=_matching(flavor, _MEDIATED_KEY),
        secure_boot=_required_secure_boot(flavor, image),
        viommu=_of_either(flavor, image, "hw", "viommu_model"),
        locks_memory=_locks_memory(flavor, image),
        on_stock_nova=_on_stock_nova(flavor, image, release, selected.model),
        requires_sev_driver=_requires_sev_driver(
            flavor, image, release, selected.model
        ),
    )


def parse_foreign_request(
    flavor: FlavorSpecs, image: ImageProperties, release: NovaRelease
) -> ForeignRequest | None:
    """Return the request for a model of another vendor, None if not requested.

    ``sev:model`` names a model of AMD. If it is set, a model of another vendor is a
    mistake, which :func:`parse_request` reports.
    """
    settings = _settings(flavor, image)
    requesters = [each for each in settings if each.asks]
    if not requesters or model_selection.MODEL_KEY in flavor.extra_specs:
        return None
    models = _model_requests(flavor, image)
    named = {each.value for each in models}
    model = next((m for m in release.foreign_models if m.value in named), None)
    if model is None:
        return None
    conflict = _denial(settings) or model_selection.disagreement(models)
    return ForeignRequest(model, tuple(map(str, requesters)), conflict)


def misspelt_keys(flavor: FlavorSpecs, image: ImageProperties) -> tuple[NearMiss, ...]:
    """Return the misspelt keys and values that were meant to ask for encryption."""
    return (
        *near_misses.of_flavor(f"flavor {flavor.name}", flavor.extra_specs),
        *near_misses.of_image(image.title, image.properties),
    )


def is_true(text: str | None) -> bool | None:
    """Return whether Nova takes a value for true, None if it is not set."""
    return None if text is None else facts.is_true(text)


class _Requester(NamedTuple):
    """A key that can ask for encryption; ``asks`` is None if it is not set."""

    asks: bool | None
    key: str
    owner: str

    def __str__(self) -> str:
        return f"{self.key} of {self.owner}"


def _settings(flavor: FlavorSpecs, image: ImageProperties) -> tuple[_Requester, ...]:
    specs, owner = flavor.extra_specs, f"flavor {flavor.name}"
    by_model = True if model_selection.MODEL_KEY in specs else None
    by_image = is_true(image.properties.get(IMAGE_KEY))
    return (
        _Requester(is_true(specs.get(FLAVOR_KEY)), FLAVOR_KEY, owner),
        _Requester(by_image, IMAGE_KEY, image.title),
        _Requester(by_model, model_selection.MODEL_KEY, owner),
    )


def _denial(settings: Sequence[_Requester]) -> str | None:
    """Describe the first key that denies encryption, None if no key does."""
    denials = (f"{each} denies it" for each in settings if each.asks is False)
    return next(denials, None)


def _model_requests(flavor: FlavorSpecs, image: ImageProperties) -> list[ModelRequest]:
    return [
        *model_selection.flavor_requests(flavor.name, flavor.extra_specs),
        *model_selection.image_requests(image.title, image.properties),
    ]


def _default_model(
    flavor: FlavorSpecs, image: ImageProperties, by_nova: Sequence[_Requester]
) -> list[ModelRequest]:
    """Return Nova's default model as a request if no key of Nova's names a model.

    :param by_nova: Nova's keys that ask for encryption.
    """
    named = model_selection.NOVA_MODEL_KEY in flavor.extra_specs or (
        IMAGE_MODEL_KEY in image.properties
    )
    if named or not by_nova:
        return []
    default = MemoryEncryptionModel.AMD_SEV.value
    first = by_nova[0]
    words = f"{first.key} without {model_selection.NOVA_MODEL_KEY} (which is {default})"
    return [ModelRequest(default, first.owner, words)]


def _setting(image: ImageProperties, name: str) -> Setting | None:
    value = image.properties.get(name)
    return None if value is None else Setting(value, f"{name} of the image")


def _of_either(
    flavor: FlavorSpecs, image: ImageProperties, prefix: str, name: str
) -> Setting | None:
    """Return the flavor's ``prefix:name``, or else the image's ``prefix_name``.

    Nova rejects servers for which the two differ.
    """
    key = f"{prefix}:{name}"
    value = flavor.extra_specs.get(key)
    if value is not None:
        return Setting(value, f"{key} of flavor {flavor.name}")
    return _setting(image, f"{prefix}_{name}")


def _required_secure_boot(
    flavor: FlavorSpecs, image: ImageProperties
) -> Setting | None:
    """Return the setting that requires Secure Boot, None if it is optional or off."""
    setting = _of_either(flavor, image, "os", "secure_boot")
    return setting if setting is not None and setting.value == "required" else None


def _locks_memory(flavor: FlavorSpecs, image: ImageProperties) -> bool:
    """Return whether flavor or image makes Nova lock the guest's memory."""
    settings = (
        _of_either(flavor, image, "hw", name)
        for name in ("locked_memory", "cpu_realtime")
    )
    return any(setting and is_true(setting.value) for setting in settings)


def _on_stock_nova(
    flavor: FlavorSpecs,
    image: ImageProperties,
    release: NovaRelease,
    model: MemoryEncryptionModel,
) -> str | None:
    """Return how Nova's own driver would start such a guest, None if as requested.

    That driver ignores ``sev:model``, and does not derive a model from traits.
    """
    if not (
        is_true(flavor.extra_specs.get(FLAVOR_KEY))
        or is_true(image.properties.get(IMAGE_KEY))
    ):
        return "in the clear"
    default = MemoryEncryptionModel.AMD_SEV
    named = default.value
    if release.scheduler_chooses_model:
        named = (
            image.properties.get(IMAGE_MODEL_KEY)
            or flavor.extra_specs.get(model_selection.NOVA_MODEL_KEY)
            or named
        )
    if named == model.value and model in release.stock_models:
        return None
    by = next((m for m in release.stock_models if m.value == named), default)
    return f"with {by.title}"


def _requires_sev_driver(
    flavor: FlavorSpecs,
    image: ImageProperties,
    release: NovaRelease,
    model: MemoryEncryptionModel,
) -> bool:
    """Return whether the scheduler excludes hosts with Nova's own driver.

    Those have neither the trait of this driver's hosts, nor the traits of models that
    Nova does not know.
    """
    key = f"trait:{HOST_TRAIT}"
    if "required" in (flavor.extra_specs.get(key), image.properties.get(key)):
        return True
    requests = _model_requests(flavor, image)
    traits = [each for each in requests if each.setting.startswith("trait")]
    return bool(traits) and model not in release.stock_models


def _matching(flavor: FlavorSpecs, pattern: re.Pattern[str]) -> tuple[Setting, ...]:
    """Return the flavor's settings whose keys match."""
    return tuple(
        Setting(value, f"{key} of flavor {flavor.name}")
        for key, value in sorted(flavor.extra_specs.items())
        if pattern.fullmatch(key)
    )
