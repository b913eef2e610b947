# SPDX-License-Identifier: Apache-2.0
"""Instances as nova-compute has them when it makes a guest's XML."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from nova import context as nova_context
from nova import objects
from nova.network import model as network_model
from nova.virt.libvirt import blockinfo

ENCRYPTED_FLAVOR = {"hw:mem_encryption": "true"}
#: What an encrypted guest of stock Nova needs, too.
UEFI = {"image_hw_firmware_type": "uefi", "image_hw_machine_type": "q35"}


@dataclasses.dataclass(frozen=True)
class Guest:
    """All that Nova's driver is given to make a guest's XML."""

    instance: objects.Instance
    network: network_model.NetworkInfo
    block_devices: dict[str, Any]

    def xml(self, driver: Any) -> str:
        """What the driver hands to libvirt, made as spawn makes it."""
        image = self.instance.image_meta
        disks = blockinfo.get_disk_info("kvm", self.instance, image, self.block_devices)
        context = nova_context.get_admin_context()
        xml: str = driver._get_guest_xml(
            context,
            self.instance,
            self.network,
            disks,
            image,
            block_device_info=self.block_devices,
        )
        return xml


def make(encrypted: bool, devices: int) -> Guest:
    """A guest with a disk of its own, and that many volumes and ports in turn."""
    instance = objects.Instance(
        context=nova_context.get_admin_context(),
        id=1,
        uuid=str(uuid.UUID(int=devices + 1)),
        display_name="guest",
        user_id="user",
        project_id="project",
        metadata={},
        system_metadata=dict(UEFI, image_min_disk="1", image_disk_format="raw"),
        flavor=_flavor(encrypted),
        pci_requests=objects.InstancePCIRequests(requests=[]),
        pci_devices=objects.PciDeviceList(objects=[]),
    )
    for name, field in instance.fields.items():
        # What is not there Nova would look for in the database.
        if field.nullable and not instance.obj_attr_is_set(name):
            setattr(instance, name, None)
    ports = network_model.NetworkInfo(map(_port, range(devices // 2)))
    volumes = [_volume(number) for number in range(devices - len(ports))]
    return Guest(instance, ports, {"block_device_mapping": volumes})


def _flavor(encrypted: bool) -> objects.Flavor:
    return objects.Flavor(
        id=1,
        flavorid="flavor",
        name="flavor",
        vcpus=2,
        memory_mb=512,
        root_gb=1,
        ephemeral_gb=0,
        swap=0,
        extra_specs=dict(ENCRYPTED_FLAVOR) if encrypted else {},
    )


def _port(number: int) -> network_model.VIF:
    """A port of Open vSwitch, which os-vif plugs."""
    return network_model.VIF(
        id=str(uuid.UUID(int=number + 1000)),
        address=f"fa:16:3e:00:00:{number:02x}",
        network=network_model.Network(
            id=str(uuid.UUID(int=900)), bridge="br-int", label="net", mtu=1500
        ),
        type=network_model.VIF_TYPE_OVS,
        vnic_type=network_model.VNIC_TYPE_NORMAL,
        details={},
        devname=f"tap{number}",
        ovs_interfaceid=str(uuid.UUID(int=number + 1000)),
        active=True,
    )


class _Volume(dict[str, Any]):
    """As Nova's own, but that nothing is kept in the database."""

    def save(self) -> None:
        """Nova records here what it has connected."""


def _volume(number: int) -> _Volume:
    """A volume of Ceph, which QEMU itself attaches."""
    volume = str(uuid.UUID(int=number + 2000))
    return _Volume(
        mount_device=f"/dev/{_disk_name(number + 1)}",
        boot_index=None,
        disk_bus="virtio",
        device_type="disk",
        guest_format=None,
        delete_on_termination=False,
        attachment_id=volume,
        connection_info={
            "driver_volume_type": "rbd",
            "serial": volume,
            "data": {
                "name": f"volumes/volume-{volume}",
                "hosts": ["192.0.2.1", "192.0.2.2"],
                "ports": ["6789", "6789"],
                "auth_enabled": True,
                "auth_username": "cinder",
                "secret_type": "ceph",
                "secret_uuid": str(uuid.UUID(int=800)),
                "cluster_name": "ceph",
                "access_mode": "rw",
                "discard": True,
            },
        },
    )


def _disk_name(number: int) -> str:
    """vda, vdb ... vdz, vdaa ..."""
    first, last = divmod(number, 26)
    return "vd" + (chr(96 + first) if first else "") + chr(97 + last)
