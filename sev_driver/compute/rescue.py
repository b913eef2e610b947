# SPDX-License-Identifier: Apache-2.0

"""Rescue with the encryption that the server's own flavor and image ask for.

A guest of AMD SEV is rescued with the properties of its own image. For all other guests
Nova uses the rescue image, which must ask for the same as the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova import objects
from nova.conf import CONF
from nova.virt.libvirt import blockinfo

from sev_driver.compute.instance import (
    foreign_request_for,
    request_for,
    rescue_request,
)
from sev_driver.guest import requirements
from sev_driver.guest.requirements import BOOT_BUSES, VIRTIO_SCSI

_DEVICE, _BUS = "hw_rescue_device", "hw_rescue_bus"


def check_image(instance: objects.Instance, image_meta: objects.ImageMeta) -> None:
    """Refuse a rescue image that would change whether the guest is encrypted.

    :param image_meta: the rescue image.
    :raises RequirementsNotMet: the rescue system would run encrypted without a slot, or
        in the clear although the server asks for encryption.
    """
    if request_for(instance) is not None:
        return  # See image_for.
    title = f"rescue image {image_meta.id}" if "id" in image_meta else "rescue image"
    found = requirements.check_rescue_image(
        foreign_request_for(instance),
        rescue_request(instance, title, image_meta),
        title,
    )
    requirements.refuse(found)


def image_for(
    instance: objects.Instance, image_meta: objects.ImageMeta
) -> objects.ImageMeta:
    """Return the rescue image with the properties of the server's own image.

    Nova creates the domain of a rescue with the rescue image's properties. Users choose
    that image for its tools, not for its buses, machine type or firmware. The server's
    own properties include those that Nova recorded when the server was built.

    :param image_meta: the rescue image; its request for a stable device rescue is kept.
    """
    own, given = instance.image_meta.properties, image_meta.properties
    properties = objects.ImageMetaProps()
    for name in own.fields:
        if own.obj_attr_is_set(name) and name not in (_DEVICE, _BUS):
            setattr(properties, name, getattr(own, name))
    device, bus = given.get(_DEVICE), given.get(_BUS)
    if device is not None or bus is not None:
        # q35 has no floppy drive.
        properties.hw_rescue_device = "cdrom" if device == "cdrom" else "disk"
    if bus in BOOT_BUSES or (bus == "scsi" and own.get("hw_scsi_model") == VIRTIO_SCSI):
        properties.hw_rescue_bus = bus
    result = image_meta.obj_clone()
    result.properties = properties
    return result


def disks(
    instance: objects.Instance,
    image_meta: objects.ImageMeta,
    disk_info: Mapping[str, Any],
    block_device_info: Mapping[str, Any] | None,
) -> Mapping[str, Any]:
    """Return ``disk_info`` of a rescue, computed from the server's own image.

    For a stable device rescue, Nova reads the image's properties from Glance again,
    without those recorded with the server. If the image names no machine type, the
    config drive would be on IDE.

    :param image_meta: the image that :func:`image_for` returns.
    :param block_device_info: set by Nova for a stable device rescue only.
    """
    if block_device_info is None:
        return disk_info
    own: dict[str, Any] = blockinfo.get_disk_info(
        CONF.libvirt.virt_type,
        instance,
        image_meta,
        block_device_info=block_device_info,
    )
    # The rescue disk gets a new name, because a disk of the server may have its name.
    found = disk_info["mapping"]["disk.rescue"]
    own["mapping"]["disk.rescue"] = blockinfo.get_next_disk_info(
        own["mapping"], found["bus"], device_type=found["type"]
    )
    return own
