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

from collections.abc import Iterable
from typing import Any

from nova import objects
from nova.compute import task_states
from nova.conf import CONF
from nova.network import model as network_model
from nova.virt.libvirt import utils as libvirt_utils

from sev_driver import asked, releases, selection
from sev_driver.requirements import GuestRequest, Setting


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
        asked.FLAVOR_KEY in flavor.extra_specs
        or selection.MODEL_KEY in flavor.extra_specs
        or f"image_{asked.IMAGE_KEY}" in instance.system_metadata
    ):
        return None  # Plain guests pay for no more than this.
    image = instance.image_meta  # made anew each time
    return asked.request(
        asked.Flavor(flavor.name, flavor.extra_specs),
        _image(instance, image),
        releases.rules(),
        _default_machine(image),
        _has_its_slot(instance),
    )


def _image(instance: objects.Instance, image: objects.ImageMeta) -> asked.Image:
    """Return all of the image's properties, those that this Nova drops, too."""
    properties = {
        key.removeprefix("image_"): value
        for key, value in instance.system_metadata.items()
        if key.startswith("image_")
    }
    for name in _READ_BY_NOVA:
        value = image.properties.get(name)
        if value is not None:
            properties[name] = str(value)
    # An instance does not keep its image's name, and has no image at all where
    # it was booted from a volume.
    title = f"image {image.id}" if "id" in image else "the volume's image"
    return asked.Image(title, properties)


#: What every release knows, and may have under an older name or in other letters.
_READ_BY_NOVA = (
    asked.IMAGE_KEY,
    "hw_disk_bus",
    "hw_firmware_type",
    "hw_machine_type",
    "hw_scsi_model",
)


#: From when it is no longer on the source, and holds a slot that it was just given.
_MOVING = frozenset((task_states.RESIZE_MIGRATED, task_states.RESIZE_FINISH))


def _has_its_slot(instance: objects.Instance) -> bool:
    """Whether it was started before, and does not come from another host.

    An older Nova, whose scheduler asks for no generation, may have found the slot.
    """
    started = "launched_at" in instance and instance.launched_at is not None
    moving = "task_state" in instance and instance.task_state in _MOVING
    return started and not moving


def direct_ports(network_info: Iterable[Any] | None) -> tuple[Setting, ...]:
    """Return the network ports that are PCI devices of the host (SR-IOV)."""
    return tuple(
        Setting(vif["vnic_type"], f"the vnic type of port {vif['id']}")
        for vif in network_info or ()
        if vif["vnic_type"] in network_model.VNIC_TYPES_DIRECT_PASSTHROUGH
    )


def _default_machine(image: objects.ImageMeta) -> Setting | None:
    """Return what this host has for an image that names no machine type."""
    if image.properties.get("hw_machine_type") is not None:
        return None
    arch = libvirt_utils.get_arch(image)
    if any(m.startswith(f"{arch}=") for m in CONF.libvirt.hw_machine_type or ()):
        by_option = libvirt_utils.get_default_machine_type(arch)
        return Setting(by_option, "[libvirt] hw_machine_type on this host")
    return None
