# SPDX-License-Identifier: Apache-2.0
"""vhost-user ports: Open vSwitch reads and writes the guests' memory, by DPDK.

DPDK runs without huge pages and network cards. QEMU is Debian 13's: that of Debian 12
crashes with vhost-user ports, with or without an IOMMU.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from lxml import etree
from neutron_cloud import Interface, NeutronCloud

from devcloud.linux_guest import console
from devcloud.simhost import userland

SETTINGS = {"vhost_user": True, "distribution": "trixie"}
PLUGGED = Interface("vhostuser", "virtio", has_iommu=True, has_rom=False)

pytestmark = pytest.mark.skipif(
    not userland.is_here("trixie"),
    reason="Debian 13 is not unpacked: make setup-trixie",
)


@pytest.fixture(scope="module")
def net(cloud: NeutronCloud) -> Any:
    return cloud.make_network("net")


@pytest.fixture(scope="module")
def servers(
    cloud: NeutronCloud, net: Any, flavor: str, image: str
) -> Iterator[tuple[Any, ...]]:
    """One on each host."""
    servers = cloud.boot_on_each_host(net, flavor, image)
    yield servers
    for server in servers:
        cloud.delete(server)
    cloud.check_encrypted()


def test_boot_with_a_port(cloud: NeutronCloud, servers: tuple[Any, ...]) -> None:
    for server in servers:
        port = cloud.port(server)
        assert port.status == "ACTIVE"
        assert port.binding_vif_type == "vhostuser"
        assert cloud.interfaces(server) == {port.mac_address: PLUGGED}
        with cloud.domain_of(server) as domain:
            backing = etree.fromstring(domain.XMLDesc()).find("memoryBacking")
        assert backing is not None
        assert backing.find("access[@mode='shared']") is not None
        assert backing.find("locked") is not None
        lines = cloud.said(server)
        (device,) = [d for d in console.virtio_devices(lines) if d.kind == "net"]
        assert device.driver == "virtio_net"
        assert device.has_access_platform
    cloud.check_encrypted(*servers)


def test_packets_pass(cloud: NeutronCloud, servers: tuple[Any, ...]) -> None:
    addresses = [cloud.port(server).fixed_ips[0]["ip_address"] for server in servers]
    for server, address in zip(servers, addresses, strict=True):
        cloud.configure(server, address)

    first, second = servers
    cloud.ping(first, addresses[1])
    cloud.ping(second, addresses[0])


def test_switch_without_iommu_is_named_to_the_user(
    cloud: NeutronCloud, servers: tuple[Any, ...], net: Any, flavor: str, image: str
) -> None:
    cloud.restart_switch(iommu=False)

    server = cloud.boot("refused", flavor, image, networks=[{"uuid": net.id}])

    assert server.status == "ERROR"
    assert "vhost-iommu-support=true" in server.fault["message"]
    cloud.delete(server)
    cloud.restart_switch(iommu=True)
    cloud.check_encrypted(*servers)
