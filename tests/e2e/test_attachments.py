# SPDX-License-Identifier: Apache-2.0
"""Devices that a running encrypted guest gets, at the driver's own interface.

There is no Cinder, no Neutron and no device of the host to spare here. Nova's
attach_volume and attach_interface end in the calls that are made here.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import as_nova_compute
import pytest
from lxml import etree

from devcloud.testing import CloudFixture

ATTACH = """
both = {"persistent": True, "live": True}
call(guest.attach_device, device(
    "LibvirtConfigGuestDisk", source_type="file", source_path=VOLUME,
    driver_name="qemu", driver_format="raw", target_dev="vdx", target_bus="virtio",
), **both)
# QEMU's own network: none of Nova's kinds would do without a bridge or a switch.
call(guest.attach_device, xml("<interface type='user'><model type='virtio'/>"
    "<mac address='52:54:00:00:00:01'/></interface>"), **both)
"""
DETACH = """
for attached in %r:
    call(guest.detach_device, xml(attached), persistent=True, live=True)
"""
OF_THE_HOST = """
live = {"persistent": True, "live": True}
call(guest.attach_device, device(
    "LibvirtConfigGuestHostdevPCI", domain="0000", bus="00", slot="05", function="0",
), **live)
call(guest.attach_device, device("LibvirtConfigGuestHostdevMDEV", uuid="1"), **live)
call(guest.attach_device, device(
    "LibvirtConfigGuestInterface", net_type="hostdev", mac_addr="52:54:00:00:00:02",
    source_dev="0000:00:05.0",
), **live)
call(guest.attach_device, device(
    "LibvirtConfigGuestDisk", source_type="file", source_path="/dev/null",
    target_dev="hda", target_bus="ide",
), **live)
"""


#: Cinder's part of a swap, the connections of both volumes, is left out.
SWAP = """
def raw(path, target):
    return device(
        "LibvirtConfigGuestDisk", source_type="file", source_path=path,
        driver_name="qemu", driver_format="raw", target_dev=target, target_bus="virtio",
    )
call(guest.attach_device, raw(OLD, "vdx"), persistent=True, live=True)
compute._connect_volume = compute._disconnect_volume = lambda *args, **kwargs: None
compute._get_volume_encryption = lambda *args: {}
compute._get_volume_config = lambda *args: raw(NEW, "vdx")
call(compute.swap_volume, admin, {}, {}, server, "/dev/vdx", 0)
"""
#: As a soft reboot does it, once the guest has shut down.
RESTART = """
call(guest.poweroff)
call(guest.launch)
"""


@pytest.fixture
def server(
    cloud: CloudFixture, encrypted_flavor: str, uefi_image: str
) -> Iterator[Any]:
    server = cloud.boot("extended", encrypted_flavor, uefi_image)
    assert server.status == "ACTIVE", server.fault
    yield server
    cloud.delete(server)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    subprocess.run(["qemu-img", "create", "-qf", "raw", path, "16M"], check=True)
    return path


def extras(cloud: CloudFixture, server: Any, *options: str) -> list[etree._Element]:
    """What ATTACH attaches, as libvirt has it."""
    xml = cloud.virsh("dumpxml", *options, server.instance_name)
    devices = etree.fromstring(xml).find("devices")
    assert devices is not None
    disks = devices.findall("disk/target[@dev='vdx']/..")
    return [*disks, *devices.findall("interface")]


def test_a_volume_and_a_network_interface_come_and_go(
    cloud: CloudFixture, server: Any, volume: Path
) -> None:
    answers = as_nova_compute.ask(cloud, server, f"VOLUME = {str(volume)!r}\n{ATTACH}")

    assert [answer.text for answer in answers] == ["", ""]
    for options in ((), ("--inactive",)):
        disk, interface = extras(cloud, server, *options)
        assert disk.find("driver[@iommu='on']") is not None
        assert interface.find("driver[@iommu='on']") is not None
        # Its iPXE cannot do DMA in encrypted memory.
        assert interface.find("rom[@enabled='no']") is not None
    assert cloud.domain(server).launch_security == "sev"

    attached = [etree.tostring(e, encoding="unicode") for e in extras(cloud, server)]
    answers = as_nova_compute.ask(cloud, server, DETACH % attached)

    assert [answer.text for answer in answers] == ["", ""]
    assert extras(cloud, server, "--inactive") == []


def test_a_volume_swap_is_kept_by_the_domains_next_start(
    cloud: CloudFixture, server: Any, volume: Path
) -> None:
    """libvirt 9.0 refuses what Nova defines after the copy, the domain as it runs."""
    new = volume.with_name("new")
    subprocess.run(["qemu-img", "create", "-qf", "raw", new, "16M"], check=True)
    paths = f"OLD, NEW = {str(volume)!r}, {str(new)!r}\n"

    answers = as_nova_compute.ask(cloud, server, paths + SWAP)

    assert [answer.text for answer in answers] == ["", ""]
    assert_swapped(cloud, server, new)
    assert_swapped(cloud, server, new, "--inactive")

    # From here on it is persistent again: Nova undefines and defines it once more.
    cloud.do(server, "createImage", {"name": "after-the-swap"})
    assert_swapped(cloud, server, new, "--inactive")

    answers = as_nova_compute.ask(cloud, server, RESTART)

    assert [answer.text for answer in answers] == ["", ""]
    assert_swapped(cloud, server, new)


def assert_swapped(cloud: CloudFixture, server: Any, new: Path, *options: str) -> None:
    (disk,) = extras(cloud, server, *options)
    source = disk.find("source")
    assert source is not None
    assert source.get("file") == str(new)
    assert disk.find("driver[@iommu='on']") is not None
    assert cloud.domain(server).launch_security == "sev"


def test_devices_of_the_host_and_ide_disks_are_refused(
    cloud: CloudFixture, server: Any
) -> None:
    before = cloud.virsh("dumpxml", server.instance_name)

    answers = as_nova_compute.ask(cloud, server, OF_THE_HOST)

    asked = "hw:mem_encryption of flavor encrypted asks for AMD SEV, but "
    for answer, found in zip(
        answers,
        (
            "the guest has a PCI device of the host: use a flavor without one.",
            "the guest has a mediated device (vGPU): use a flavor without one.",
            "is a PCI device of the host (SR-IOV): use a port of vnic type normal.",
            "disk hda is on an IDE bus: use virtio, scsi or sata.",
        ),
        strict=True,
    ):
        assert answer.error == "InternalError"
        assert asked in answer.text
        assert found in answer.text
    assert cloud.virsh("dumpxml", server.instance_name) == before
