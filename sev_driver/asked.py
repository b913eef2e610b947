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
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    requesters = [voice for voice in voices if voice.asks]
    if not requesters:
        return None
    by_nova = [voice for voice in requesters if voice.key != selection.MODEL_KEY]
    by_model = selection.MODEL_KEY in flavor.extra_specs
    asks = [
        *selection.flavor_asks(flavor.name, flavor.extra_specs),
        *selection.image_asks(image.title, image.properties),
    ]
    if not has_its_slot and release.chooses_model:
        asks = _asks_by_default(flavor, image, by_nova) + asks
    if not by_model and any(
        ask.model is None and ask.value in release.other_models for ask in asks
    ):
        return None
    selected = selection.select(asks)
    denials = (f"{voice} denies it" for voice in voices if voice.asks is False)
    properties = image.properties
    return GuestRequest(
        model=selected.model,
        # Our key names a model where Nova's asks for encryption already.
        requesters=tuple(map(str, by_nova or requesters)),
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


class _Voice(NamedTuple):
    """What a key says of encryption: yes, no, or None, nothing."""

    asks: bool | None
    key: str
    owner: str

    def __str__(self) -> str:
        return f"{self.key} of {self.owner}"


def _voices(flavor: Flavor, image: Image) -> tuple[_Voice, ...]:
    specs, owner = flavor.extra_specs, f"flavor {flavor.name}"
    by_model = True if selection.MODEL_KEY in specs else None
    by_image = is_true(image.properties.get(IMAGE_KEY))
    return (
        _Voice(is_true(specs.get(FLAVOR_KEY)), FLAVOR_KEY, owner),
        _Voice(by_image, IMAGE_KEY, image.title),
        _Voice(by_model, selection.MODEL_KEY, owner),
    )


def _asks_by_default(
    flavor: Flavor, image: Image, by_nova: Sequence[_Voice]
) -> list[ModelAsk]:
    """Return what Nova's scheduler asks for where no key of Nova's names a model.

    :param by_nova: the keys of Nova's that ask for encryption.
    """
    named = selection.NOVA_MODEL_KEY in flavor.extra_specs or (
        "hw_mem_encryption_model" in image.properties
    )
    if named or not by_nova:
        return []
    default = MemoryEncryptionModel.AMD_SEV.value
    first = by_nova[0]
    words = f"{first.key} without {selection.NOVA_MODEL_KEY} (which is {default})"
    return [ModelAsk(default, first.owner, words)]


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
