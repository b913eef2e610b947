# SPDX-License-Identifier: Apache-2.0
"""Real ports of running encrypted guests, through all that a user can ask.

Two servers for all tests, in their order: a Linux takes its time.
"""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from neutron_cloud import Interface, NeutronCloud
from openstack.utils import iterate_timeout

from devcloud.linux_guest import console

SETTINGS: dict[str, Any] = {}
#: Of a port of Open vSwitch.
PLUGGED = Interface("ethernet", "virtio", has_iommu=True, has_rom=False)


@pytest.fixture(scope="module")
def net(cloud: NeutronCloud) -> Any:
    return cloud.make_network("net")


@pytest.fixture(scope="module")
def servers(cloud: NeutronCloud, net: Any, flavor: str, image: str) -> tuple[Any, ...]:
    """One on each host."""
    return cloud.boot_on_each_host(net, flavor, image)


def test_boot_with_a_port(cloud: NeutronCloud, servers: tuple[Any, ...]) -> None:
    for server in servers:
        port = cloud.port(server)
        assert port.status == "ACTIVE"
        assert port.binding_vif_type == "ovs"
        for inactive in (False, True):
            found = cloud.interfaces(server, inactive=inactive)
            assert found == {port.mac_address: PLUGGED}
        lines = cloud.said(server)
        assert f"net eth0 address={port.mac_address}" in lines
        (device,) = [d for d in console.virtio_devices(lines) if d.kind == "net"]
        assert device.driver == "virtio_net"
        assert device.has_access_platform
    cloud.check_encrypted(*servers)


def test_guests_reach_each_other(cloud: NeutronCloud, servers: tuple[Any, ...]) -> None:
    addresses = [cloud.port(server).fixed_ips[0]["ip_address"] for server in servers]
    for server, address in zip(servers, addresses, strict=True):
        cloud.configure(server, address)

    first, second = servers
    cloud.ping(first, addresses[1])
    cloud.ping(second, addresses[0])

    # So the packets have gone over the wire between the hosts.
    assert {server.compute_host for server in servers} == set(cloud.hosts)


def test_attach_and_detach(
    cloud: NeutronCloud, servers: tuple[Any, ...], net: Any
) -> None:
    server, _ = servers
    before = len(cloud.said(server))
    own = cloud.port(server)

    port = cloud.attach(server, net)

    expected = {own.mac_address: PLUGGED, port.mac_address: PLUGGED}
    for inactive in (False, True):
        assert cloud.interfaces(server, inactive=inactive) == expected
    cloud.hear(server, f"added net eth1 address={port.mac_address}", before)
    cloud.hear(
        server,
        r"added virtio\d+ net driver=virtio_net version_1=1 access_platform=1",
        before,
    )
    cloud.check_encrypted(*servers)

    cloud.detach(server, port)

    cloud.hear(server, "removed net eth1", before)
    for inactive in (False, True):
        found = cloud.interfaces(server, inactive=inactive)
        assert found == {own.mac_address: PLUGGED}
    cloud.check_encrypted(*servers)


def test_hard_reboot(cloud: NeutronCloud, servers: tuple[Any, ...]) -> None:
    first, second = servers
    said = cloud.said(first)

    cloud.do(first, "reboot", {"type": "HARD"})

    check_reaches(cloud, first, second, said)


def test_the_machine_sees_none_of_it(
    cloud: NeutronCloud, servers: tuple[Any, ...]
) -> None:
    taps = {f"tap{cloud.port(server).id[:11]}" for server in servers}
    running = cloud.cloud.running
    assert running is not None
    inside = interfaces(running.init.pid)
    ours = taps | {"br-node1", "br-node2"}
    assert ours <= inside

    assert not ours & interfaces(os.getpid())


def test_cold_migration(cloud: NeutronCloud, servers: tuple[Any, ...]) -> None:
    """No packets: the hosts share one Open vSwitch.

    When a migration is confirmed, Nova unplugs the port on the first host, by its name,
    which is its name on the second host as well.
    """
    first, second = servers
    said = cloud.said(first)

    migrated = cloud.migrate(first)

    assert migrated.status == "VERIFY_RESIZE", migrated.fault
    confirmed = cloud.confirm(migrated)
    assert confirmed.compute_host == "node2"
    port = cloud.port(first)
    assert port.binding_host_id == "node2"
    cloud.check_encrypted(first, second)
    assert cloud.interfaces(first) == {port.mac_address: PLUGGED}
    cloud.hear_start(first, said)


def test_deleted_servers_leave_nothing(
    cloud: NeutronCloud, servers: tuple[Any, ...], net: Any
) -> None:
    for server in servers:
        cloud.delete(server)

    cloud.check_encrypted()
    assert not list(cloud.connection.network.ports(network_id=net.id))


def test_a_killed_cloud_leaves_nothing(
    cloud: NeutronCloud, servers: tuple[Any, ...]
) -> None:
    """The last test: of the cloud there is no process left, and so no namespace."""
    running = cloud.cloud.running
    assert running is not None
    namespace = os.readlink(f"/proc/{running.init.pid}/ns/net")
    assert namespace != os.readlink("/proc/self/ns/net")
    assert members(namespace)

    assert running.init.end(signal.SIGKILL, 60)

    for _ in iterate_timeout(60, "the cloud's processes are still there", wait=0.2):
        if not members(namespace):
            break


def interfaces(pid: int) -> set[str]:
    """The network interfaces that a process sees."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    return {line.partition(":")[0].strip() for line in lines}


def members(namespace: str) -> list[int]:
    """The processes in a network namespace."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "ns/net") == namespace:
                found.append(int(folder.name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def check_reaches(
    cloud: NeutronCloud, server: Any, other: Any, said: list[str]
) -> None:
    """Fail unless a server has its port and reaches another one after a new start.

    :param said: before that
    """
    cloud.check_encrypted(server, other)
    port = cloud.port(server)
    assert cloud.interfaces(server) == {port.mac_address: PLUGGED}
    cloud.hear_start(server, said)
    cloud.configure(server, port.fixed_ips[0]["ip_address"])
    cloud.ping(server, cloud.port(other).fixed_ips[0]["ip_address"])
