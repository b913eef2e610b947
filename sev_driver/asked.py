#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""What a flavor and an image ask for: from their keys to a value.

The one rule for nova-compute, which has them of its guests, and for the doctor,
which has them of the cloud.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from sev_driver import selection
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import GuestRequest, Setting
from sev_driver.selection import ModelAsk

FLAVOR_KEY = "hw:mem_encryption"
IMAGE_KEY = "hw_mem_encryption"

#: PCI passthrough and vGPU; a numbered group asks like the unnumbered one.
_PASSTHROUGH_KEY = re.compile(r"pci_passthrough:alias|resources\w*:(VGPU|PGPU)")

#: As oslo.utils reads it, which Nova reads keys with.
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})


@dataclasses.dataclass(frozen=True)
class Flavor:
    """A flavor's name and extra specs."""

    name: str
    extra_specs: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Image:
    """An image by what messages call it, such as ``image 1``, and its properties.

    They are as the image has them, those that Nova does not know too.
    """

    title: str
    properties: Mapping[str, str]

    @classmethod
    def of(cls, title: str, raw: Mapping[str, str]) -> Image:
        """Return one by its properties in glance, older names read as Nova does."""
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


@dataclasses.dataclass(frozen=True)
class Release:
    """What of a Nova release decides what a guest gets.

    ``chooses_model``: its scheduler asks for a generation, SEV where none is named.
    ``other_models``: those of another vendor that it runs itself.
    """

    chooses_model: bool
    other_models: frozenset[str] = frozenset()


def request(
    flavor: Flavor,
    image: Image,
    release: Release,
    default_machine: Setting | None = None,
    has_its_slot: bool = False,
) -> GuestRequest | None:
    """Return what both ask for, None if that is not encryption by AMD SEV.

    :param default_machine: the machine type where the image names none.
    :param has_its_slot: what the scheduler asks for no longer matters.
    """
    voices = _voices(flavor, image)
    requesters = tuple(key for asks, key in voices if asks)
    if not requesters:
        return None
    by_model = selection.MODEL_KEY in flavor.extra_specs
    asks = [
        *selection.flavor_asks(flavor.name, flavor.extra_specs),
        *selection.image_asks(image.title, image.properties),
    ]
    if not has_its_slot and release.chooses_model:
        asks = _asks_by_default(flavor, image, requesters) + asks
    if not by_model and any(
        ask.model is None and ask.value in release.other_models for ask in asks
    ):
        return None
    selected = selection.select(asks)
    denials = (f"{key} denies it" for asks, key in voices if asks is False)
    properties = image.properties
    return GuestRequest(
        model=selected.model,
        # Our key names a model where Nova's asks for encryption already.
        requesters=requesters[:-1] if by_model and requesters[1:] else requesters,
        machine_type=_setting(image, "hw_machine_type") or default_machine,
        firmware_type=properties.get("hw_firmware_type"),
        firmware_stateless=bool(is_true(properties.get("hw_firmware_stateless"))),
        conflict=next(denials, selected.conflict),
        disk_bus=_setting(image, "hw_disk_bus"),
        scsi_model=properties.get("hw_scsi_model"),
        passthrough=_passthrough(flavor),
    )


def is_true(text: str | None) -> bool | None:
    """Read a key's value; None where there is none."""
    return None if text is None else text.strip().lower() in _TRUE


def _voices(flavor: Flavor, image: Image) -> list[tuple[bool | None, str]]:
    """Return who says what of encryption: yes, no, or None, nothing."""
    by_model = True if selection.MODEL_KEY in flavor.extra_specs else None
    return [
        (
            is_true(flavor.extra_specs.get(FLAVOR_KEY)),
            f"{FLAVOR_KEY} of flavor {flavor.name}",
        ),
        (is_true(image.properties.get(IMAGE_KEY)), f"{IMAGE_KEY} of {image.title}"),
        (by_model, f"{selection.MODEL_KEY} of flavor {flavor.name}"),
    ]


def _asks_by_default(
    flavor: Flavor, image: Image, requesters: tuple[str, ...]
) -> list[ModelAsk]:
    """Return what Nova's scheduler asks for where no key of Nova's names a model."""
    named = selection.NOVA_MODEL_KEY in flavor.extra_specs or (
        "hw_mem_encryption_model" in image.properties
    )
    nova_asks = not requesters[0].startswith(selection.MODEL_KEY)
    if named or not nova_asks:
        return []
    default = MemoryEncryptionModel.AMD_SEV.value
    key, owner = requesters[0].split(" of ", 1)
    words = f"{key} without {selection.NOVA_MODEL_KEY} (which is {default})"
    return [ModelAsk(default, owner, words)]


def _setting(image: Image, name: str) -> Setting | None:
    value = image.properties.get(name)
    return None if value is None else Setting(value, f"{name} of the image")


def _passthrough(flavor: Flavor) -> tuple[Setting, ...]:
    """Return the flavor's keys that ask for devices of the host."""
    return tuple(
        Setting(value, f"{key} of flavor {flavor.name}")
        for key, value in sorted(flavor.extra_specs.items())
        if _PASSTHROUGH_KEY.fullmatch(key)
    )
