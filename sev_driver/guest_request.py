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

"""What a guest asks for: from Nova's instance, flavor and image to a value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from nova import objects
from nova.compute import task_states
from nova.conf import CONF
from nova.network import model as network_model
from nova.virt.libvirt import utils as libvirt_utils
from oslo_utils import strutils

from sev_driver import releases, selection
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import GuestRequest, Setting
from sev_driver.selection import ModelAsk

#: PCI passthrough and vGPU; a numbered group asks like the unnumbered one.
_PASSTHROUGH_KEY = re.compile(r"pci_passthrough:alias|resources\w*:(VGPU|PGPU)")


def of(instance: objects.Instance) -> GuestRequest | None:
    """Return what ``instance`` asks for, None if that is not encryption by SEV.

    Rests on the instance's own flavor and image: the image that a caller holds
    may be a rescue image, which has no say in this.
    """
    return with_flavor(instance.flavor, instance)


def with_flavor(
    flavor: objects.Flavor, instance: objects.Instance
) -> GuestRequest | None:
    """Return what ``instance`` would ask for if it had ``flavor``."""
    if not (
        "hw:mem_encryption" in flavor.extra_specs
        or selection.MODEL_KEY in flavor.extra_specs
        or "image_hw_mem_encryption" in instance.system_metadata
    ):
        return None  # Plain guests pay for no more than this.
    image = instance.image_meta
    flavor_key = f"hw:mem_encryption of flavor {flavor.name}"
    image_key = f"hw_mem_encryption of {_image_name(image)}"
    text = flavor.extra_specs.get("hw:mem_encryption")
    by_flavor = None if text is None else strutils.bool_from_string(text)
    by_image = image.properties.get("hw_mem_encryption")
    by_model = True if selection.MODEL_KEY in flavor.extra_specs else None
    voices = [
        (by_flavor, flavor_key),
        (by_image, image_key),
        (by_model, f"{selection.MODEL_KEY} of flavor {flavor.name}"),
    ]
    requesters = tuple(key for asks, key in voices if asks)
    if not requesters:
        return None
    properties = _raw_properties(instance)
    asks = _asks(flavor, image, properties)
    if not _has_its_slot(instance):
        asks = _asks_by_default(flavor, properties, requesters) + asks
    if not by_model and any(_is_novas(ask) for ask in asks):
        return None
    selected = selection.select(asks)
    denials = (f"{key} denies it" for asks, key in voices if asks is False)
    return GuestRequest(
        model=selected.model,
        # Our key names a model where Nova's asks for encryption already.
        requesters=requesters[:-1] if by_model and requesters[1:] else requesters,
        machine_type=_machine_type(image),
        firmware_type=image.properties.get("hw_firmware_type"),
        firmware_stateless=strutils.bool_from_string(
            properties.get("hw_firmware_stateless")
        ),
        conflict=next(denials, selected.conflict),
        disk_bus=_setting(image, "hw_disk_bus"),
        scsi_model=image.properties.get("hw_scsi_model"),
        passthrough=_flavor_passthrough(flavor),
    )


def _is_novas(ask: ModelAsk) -> bool:
    """Whether it asks for a model that this Nova runs and that is none of ours."""
    return ask.model is None and releases.knows_model(ask.value)


def _raw_properties(instance: objects.Instance) -> dict[str, str]:
    """Return all properties of the image, those that this Nova drops, too."""
    return {
        key.removeprefix("image_"): value
        for key, value in instance.system_metadata.items()
        if key.startswith("image_")
    }


def _asks(
    flavor: objects.Flavor, image: objects.ImageMeta, properties: dict[str, str]
) -> list[ModelAsk]:
    """Return every voice for a generation, the strongest first."""
    return [
        *selection.flavor_asks(flavor.name, flavor.extra_specs),
        *selection.image_asks(_image_name(image), properties),
    ]


def _asks_by_default(
    flavor: objects.Flavor, properties: dict[str, str], requesters: tuple[str, ...]
) -> list[ModelAsk]:
    """Return what Nova's scheduler asks for where no key of Nova's names a model."""
    named = selection.NOVA_MODEL_KEY in flavor.extra_specs or (
        "hw_mem_encryption_model" in properties
    )
    nova_asks = not requesters[0].startswith(selection.MODEL_KEY)
    if named or not nova_asks or not releases.scheduler_chooses_model():
        return []
    default = MemoryEncryptionModel.AMD_SEV.value
    key, owner = requesters[0].split(" of ", 1)
    words = f"{key} without {selection.NOVA_MODEL_KEY} (which is {default})"
    return [ModelAsk(default, owner, words)]


#: From when it is no longer on the source, and holds a slot that it was just given.
_MOVING = frozenset((task_states.RESIZE_MIGRATED, task_states.RESIZE_FINISH))


def _has_its_slot(instance: objects.Instance) -> bool:
    """Whether it was started before, and does not come from another host.

    An older Nova, whose scheduler asks for no generation, may have found the slot.
    """
    started = "launched_at" in instance and instance.launched_at is not None
    moving = "task_state" in instance and instance.task_state in _MOVING
    return started and not moving


def _image_name(image: objects.ImageMeta) -> str:
    # An instance does not keep its image's name, and has no image at all where
    # it was booted from a volume.
    return f"image {image.id}" if "id" in image else "the volume's image"


def _setting(image: objects.ImageMeta, name: str) -> Setting | None:
    value = image.properties.get(name)
    return None if value is None else Setting(value, f"{name} of the image")


def _flavor_passthrough(flavor: objects.Flavor) -> tuple[Setting, ...]:
    """Return the flavor's keys that ask for devices of the host."""
    return tuple(
        Setting(value, f"{key} of flavor {flavor.name}")
        for key, value in sorted(flavor.extra_specs.items())
        if _PASSTHROUGH_KEY.fullmatch(key)
    )


def direct_ports(network_info: Iterable[Any] | None) -> tuple[Setting, ...]:
    """Return the network ports that are PCI devices of the host (SR-IOV)."""
    return tuple(
        Setting(vif["vnic_type"], f"the vnic type of port {vif['id']}")
        for vif in network_info or ()
        if vif["vnic_type"] in network_model.VNIC_TYPES_DIRECT_PASSTHROUGH
    )


def _machine_type(image: objects.ImageMeta) -> Setting | None:
    by_image = _setting(image, "hw_machine_type")
    if by_image is not None:
        return by_image
    arch = libvirt_utils.get_arch(image)
    if any(m.startswith(f"{arch}=") for m in CONF.libvirt.hw_machine_type or ()):
        by_option = libvirt_utils.get_default_machine_type(arch)
        return Setting(by_option, "[libvirt] hw_machine_type on this host")
    return None
