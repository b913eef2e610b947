# SPDX-License-Identifier: Apache-2.0
"""A cloud with two hosts and Neutron, and what its user asks of Neutron."""

from collections.abc import Callable
from typing import Any, NamedTuple

import libvirt
import openstack
from lxml import etree
from openstack.utils import iterate_timeout

from devcloud.multinode import control, network
from devcloud.multinode.testing import MultinodeFixture, Slots
from devcloud.open_vswitch import SWITCH, OpenVSwitch

#: In seconds, on a busy machine.
TIMEOUT = 180
#: RFC 5737's first.
SUBNET = "192.0.2.0/24"


class Interface(NamedTuple):
    """A network interface of a guest, as libvirt has it."""

    #: "ethernet", "vhostuser"
    kind: str
    model: str
    has_iommu: bool
    #: Whether the guest's firmware gets its PCI ROM.
    has_rom: bool


class NeutronCloud(MultinodeFixture):
    """A running cloud with networks."""

    @property
    def switch(self) -> OpenVSwitch:
        """Of all its hosts."""
        return network.switch(self.cloud.layout)

    def restart_switch(self, *, iommu: bool) -> None:
        """Have the switch offer the IOMMU to vhost-user ports, or not.

        It looks at the option when it starts.
        """
        self.switch.use_dpdk(iommu=iommu)
        for action in ("stop", "start"):
            control.ask(self.cloud.layout.control, action, SWITCH)
        # Returns when it has done what its database says.
        self.switch.vsctl("init")

    def make_network(self, name: str) -> Any:
        """A network with addresses."""
        net = self.connection.network.create_network(name=name)
        self.connection.network.create_subnet(
            network_id=net.id, ip_version=4, cidr=SUBNET, enable_dhcp=False
        )
        return net

    def boot_on_each_host(self, net: Any, flavor: str, image: str) -> tuple[Any, ...]:
        """A server with Linux and a port in a network on each host, all started."""
        ordered = [
            self.order(
                f"on-{host}",
                flavor,
                image,
                networks=[{"uuid": net.id}],
                availability_zone=f"nova:{host}",
            )
            for host in self.hosts
        ]
        servers = tuple(map(self.built, ordered))
        for server in servers:
            assert server.status == "ACTIVE", server.fault
            self.hear_start(server)
        return servers

    def ports(self, server: Any) -> list[Any]:
        """A server's ports, the oldest first."""
        found = self.connection.network.ports(device_id=server.id)
        return sorted(found, key=lambda port: port.created_at)

    def port(self, server: Any) -> Any:
        """A server's only port."""
        (port,) = self.ports(server)
        return port

    def attach(self, server: Any, net: Any) -> Any:
        """Attach a new port to a server; return it once it is plugged."""
        wanted = {"interfaceAttachment": {"net_id": net.id}}
        answer = self._interfaces(server, "post", json=wanted)
        port_id = answer.json()["interfaceAttachment"]["port_id"]

        def look() -> Any:
            port = self.connection.network.get_port(port_id)
            return port if port.status == "ACTIVE" else None

        return _until(f"port {port_id} is not plugged", look)

    def detach(self, server: Any, port: Any) -> None:
        """Detach a port; return once neither the server nor libvirt has it."""
        self._interfaces(server, "delete", f"/{port.id}")

        def look() -> bool:
            has_port = any(found.id == port.id for found in self.ports(server))
            return not has_port and port.mac_address not in self.interfaces(server)

        _until(f"port {port.id} is not detached", look)

    def _interfaces(self, server: Any, method: str, path: str = "", **more: Any) -> Any:
        answer = getattr(self.connection.compute, method)(
            f"/servers/{server.id}/os-interface{path}",
            microversion=self.settings.compute_api,
            **more,
        )
        openstack.exceptions.raise_from_response(answer)
        return answer

    def interfaces(
        self, server: Any, *, inactive: bool = False
    ) -> dict[str, Interface]:
        """A server's interfaces by their MAC addresses.

        :param inactive: those of the domain's next start
        """
        with self.domain_of(server) as domain:
            flags = libvirt.VIR_DOMAIN_XML_INACTIVE if inactive else 0
            xml = etree.fromstring(domain.XMLDesc(flags))
        return dict(map(_interface, xml.findall("devices/interface")))

    def run(self, server: Any, command: str, answer: str) -> None:
        """Type a command into the shell at the console of a Linux guest.

        :param answer: what to have the guest say, and wait for, once it is done
        """
        before = len(self.said(server))
        line = f". /etc/report; {command} && say {answer}"
        with self.domain_of(server) as domain:
            stream = domain.connect().newStream()
            domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
            stream.send(f"\n{line}\n".encode())
            # QEMU reads what is typed only while somebody has the console open.
            self.hear(server, answer, before)
            stream.finish()

    def configure(self, server: Any, address: str) -> None:
        """Have a Linux guest use an address."""
        command = f"ip link set eth0 up && ip addr add {address}/24 dev eth0"
        self.run(server, command, f"has {address}")

    def ping(self, server: Any, address: str) -> None:
        """Have a Linux guest ping an address until there is an answer."""
        ping = f"ping -c 1 -W 2 {address} | grep 'from {address}'"
        command = f"until {ping}; do sleep 1; done"
        self.run(server, command, f"reached {address}")

    def check_encrypted(self, *servers: Any) -> None:
        """Fail unless these run encrypted, with iommu on each of their devices.

        They have the slots of the cloud that are in use, by each that counts them.
        """
        in_use = dict.fromkeys(self.hosts, 0)
        for server in servers:
            self.check_iommu(server)
            server = self.connection.compute.get_server(server)
            in_use[server.compute_host] += 1
        self.check_slots({name: Slots.all(count) for name, count in in_use.items()})


def _interface(element: etree._Element) -> tuple[str, Interface]:
    def attribute(path: str, name: str) -> str:
        found = element.find(path)
        return "" if found is None else str(found.get(name))

    return attribute("mac", "address"), Interface(
        kind=str(element.get("type")),
        model=attribute("model", "type"),
        has_iommu=attribute("driver", "iommu") == "on",
        has_rom=attribute("rom", "enabled") != "no",
    )


def _until(complaint: str, look: Callable[[], Any]) -> Any:
    # Neither Neutron nor Nova tells: one has to look again.
    for _ in iterate_timeout(TIMEOUT, complaint, wait=0.3):
        if found := look():
            return found
    raise AssertionError("iterate_timeout raises")
