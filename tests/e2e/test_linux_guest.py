# SPDX-License-Identifier: Apache-2.0
"""An encrypted guest with a real Linux: what its kernel sees, and what it obeys.

One server for all tests, in their order: a Linux takes its time to start. Its cloud has
a guest firmware that boots it, other than those of most tests.
"""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import as_nova_compute
import pytest
from lab import PROVIDER, eventually, ports
from lxml import etree

from devcloud import linux_guest
from devcloud.linux_guest import console
from devcloud.linux_guest.console import VirtioDevice
from devcloud.testing import LINUX_TIMEOUT, CloudFixture

ATTACH_DISK = """
call(guest.attach_device, device(
    "LibvirtConfigGuestDisk", source_type="file", source_path=VOLUME,
    driver_name="qemu", driver_format="raw", target_dev="vdx", target_bus="virtio",
    serial="volume",
), persistent=True, live=True)
"""
#: QEMU's own network: none of Nova's kinds would do without a bridge or a switch.
ATTACH_NETWORK = """
call(guest.attach_device, xml("<interface type='user'><model type='virtio'/>"
    "<mac address='52:54:00:00:00:01'/></interface>"), persistent=True, live=True)
"""
#: As Nova's detach_volume does it, which waits for the guest to let go.
DETACH = """
import functools
call(compute._detach_with_retry, guest, server.uuid,
     functools.partial(guest.get_disk, "vdx"), device_name="vdx")
"""
MIB = 1 << 20


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudFixture]:
    if linux_guest.disk() is None:
        pytest.skip(linux_guest.reason())
    serials = ports(11000)
    nova = {
        # A soft reboot of a guest that takes its time is not made a hard one.
        "libvirt": {"wait_soft_reboot_seconds": "60", "num_pcie_ports": "12"},
        "serial_console": {
            "enabled": "true",
            "port_range": f"{serials[0]}:{serials[-1]}",
        },
    }
    with CloudFixture(tmp_path_factory.mktemp("linux"), nova=nova) as fixture:
        yield fixture


@pytest.fixture(scope="module")
def server(cloud: CloudFixture) -> Iterator[Any]:
    flavor = cloud.make_flavor("encrypted", hw__mem_encryption="true")
    # The clouds of tests give a guest one second to shut down.
    image = cloud.make_linux_image("linux", os_shutdown_timeout="120")
    server = cloud.boot("linux", flavor, image)
    assert server.status == "ACTIVE", server.fault
    cloud.hear_start(server)
    yield server
    cloud.delete(server)
    # Nova gives it back when the server is already gone from its API.
    eventually("the slot is free", lambda: cloud.usage() == {PROVIDER: 0})
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 0


def devices(lines: list[str], kind: str) -> list[VirtioDevice]:
    return [device for device in console.virtio_devices(lines) if device.kind == kind]


def log_of(cloud: CloudFixture, server: Any) -> str:
    return str(cloud.connection.compute.get_server_console_output(server)["output"])


def assert_encrypted(cloud: CloudFixture, server: Any) -> None:
    assert cloud.domain(server).launch_security == "sev"
    assert cloud.usage() == {PROVIDER: 1}
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 1


def test_its_kernel_has_negotiated_what_iommu_on_offers(
    cloud: CloudFixture, server: Any
) -> None:
    lines = cloud.said(server)

    for kind, driver in (("block", "virtio_blk"), ("rng", "virtio_rng")):
        (device,) = devices(lines, kind)
        assert device.driver == driver
        assert device.has_version_1
        assert device.has_access_platform
    assert_encrypted(cloud, server)


def test_the_balloon_is_not_used(cloud: CloudFixture, server: Any) -> None:
    """As the manual says: Linux does not agree on access_platform for it."""
    (balloon,) = devices(cloud.said(server), "balloon")

    assert balloon.driver is None
    assert not balloon.has_access_platform
    assert "virtio: device refuses features" in log_of(cloud, server)
    # "available" is the guest's own word, which only the balloon's driver brings.
    assert "available" not in cloud.virsh("dommemstat", server.instance_name)


def test_a_shell_at_the_serial_port(cloud: CloudFixture, server: Any) -> None:
    xml = cloud.virsh("dumpxml", server.instance_name)
    source = etree.fromstring(xml).find("devices/serial[@type='tcp']/source")
    assert source is not None
    address = (str(source.get("host")), int(source.get("service", "")))

    # The shell shows what it is asked for as well.
    with socket.create_connection(address, timeout=2) as connection:
        connection.sendall(b"echo $((6 * 7)) is the answer\n")
        read_until(connection, b"42 is the answer")


def read_until(connection: socket.socket, text: bytes) -> None:
    deadline = time.monotonic() + LINUX_TIMEOUT
    said = b""
    while text not in said:
        assert time.monotonic() < deadline, said[-500:]
        with contextlib.suppress(TimeoutError):
            more = connection.recv(4096)
            assert more, said[-500:]
            said += more


def test_a_disk_that_is_attached_resized_and_detached(
    cloud: CloudFixture, server: Any, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    subprocess.run(["qemu-img", "create", "-qf", "raw", volume, "16M"], check=True)
    before = len(cloud.said(server))

    attached = as_nova_compute.ask(
        cloud, server, f"VOLUME = {str(volume)!r}\n{ATTACH_DISK}"
    )

    assert [answer.text for answer in attached] == [""]
    lines = cloud.hear(server, r"added virtio\d+ block .*", before)
    (disk,) = devices(lines[before:], "block")
    assert disk.driver == "virtio_blk"
    assert disk.has_access_platform

    cloud.virsh("blockresize", server.instance_name, "vdx", f"{32 * MIB}B")

    cloud.hear(server, f"resized disk vdb sectors={32 * MIB // 512}", before)

    detached = as_nova_compute.ask(cloud, server, DETACH)

    assert [answer.text for answer in detached] == [""]
    cloud.hear(server, "removed disk vdb", before)
    for options in ((), ("--inactive",)):
        xml = cloud.virsh("dumpxml", *options, server.instance_name)
        assert etree.fromstring(xml).find("devices/disk/target[@dev='vdx']") is None


def test_a_network_interface_that_is_attached(cloud: CloudFixture, server: Any) -> None:
    before = len(cloud.said(server))

    attached = as_nova_compute.ask(cloud, server, ATTACH_NETWORK)

    assert [answer.text for answer in attached] == [""]
    cloud.hear(server, "added net eth0 address=52:54:00:00:00:01", before)
    lines = cloud.hear(server, r"added virtio\d+ net .*", before)
    (network,) = devices(lines[before:], "net")
    assert network.driver == "virtio_net"
    assert network.has_access_platform


def test_soft_reboot(cloud: CloudFixture, server: Any) -> None:
    before = cloud.virsh("domid", server.instance_name)
    said = cloud.said(server)

    cloud.do(server, "reboot", {"type": "SOFT"})
    # Else Nova has made a hard reboot of it.
    assert "Instance soft rebooted successfully" in nova_about(cloud, server)
    assert cloud.virsh("domid", server.instance_name) != before
    assert_encrypted(cloud, server)
    # The firmware would ignore the power button of the next test.
    cloud.hear_start(server, said)


def test_stop_by_the_power_button(cloud: CloudFixture, server: Any) -> None:
    outcome = cloud.act(server, "os-stop")

    assert outcome.result == "Success", outcome.details
    assert outcome.server.status == "SHUTOFF"
    # Else Nova has pulled the plug.
    assert "Instance shutdown successfully after" in nova_about(cloud, server)
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 0


def nova_about(cloud: CloudFixture, server: Any) -> str:
    """nova-compute's lines about a server."""
    lines = cloud.log().splitlines()
    return "\n".join(line for line in lines if server.id in line)
