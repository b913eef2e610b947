# SPDX-License-Identifier: Apache-2.0
"""What a cloud is asked to be; kept as ``cloud.json`` in its state folder."""

import dataclasses
import json
import secrets
import sys
from pathlib import Path

from devcloud.simhost.settings import HostSettings

DRIVER = "sev_driver.SEVDriver"


@dataclasses.dataclass(frozen=True)
class CloudSettings:
    """One cloud."""

    #: What nova.conf names in compute_driver.
    driver: str = DRIVER
    #: "simulated", or "real" for this machine's own SEV.
    host: str = "simulated"
    #: The compute hosts. More than one: see devcloud.multinode.
    nodes: tuple[HostSettings, ...] = (HostSettings(),)
    #: Whether a libvirt before 10.0 is made to take plain UEFI guests of Nova 33 and
    #: 34. Clouds that people start have it; tests see what really happens.
    mend_loader: bool = False
    #: "cinder" for volumes, "" for none; only with several hosts, as Cinder needs a
    #: queue and a database that several processes write to.
    volumes: str = ""
    #: "neutron" for networks, "" for a stand-in; only with several hosts, for the same
    #: reason.
    network: str = ""
    #: Whether its ports are vhost-user: the switch reads and writes the memory of
    #: guests, which they share with it. QEMU 7.2 crashes there: it takes hosts with
    #: another distribution.
    vhost_user: bool = False
    #: What clients ask for. It shows the faults' and the flavors' details.
    compute_api: str = "2.97"
    #: The Python in which Nova is installed, "" for this one; only with several hosts,
    #: as older Nova's threads do not get on with sqlite in one process.
    nova_python: str = ""
    #: The same for the nova-compute of single hosts, by name; read at its every start.
    compute_pythons: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Options laid over nova.conf: {section: {option: value}}.
    nova: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    #: Of the user admin and of the services' own user. The cloud answers on
    #: loopback only, but everybody on the machine can reach that.
    password: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))

    @property
    def multinode(self) -> bool:
        return len(self.nodes) > 1

    @property
    def optional_services(self) -> set[str]:
        """Those of its services that not every cloud has."""
        return {self.volumes, self.network} - {""}

    def python(self, node: str = "") -> Path:
        """The Python of a host's nova-compute, or of the other Nova processes."""
        return Path(
            self.compute_pythons.get(node) or self.nova_python or sys.executable
        )

    def write(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "CloudSettings":
        values = json.loads(path.read_text())
        nodes = tuple(HostSettings(**node) for node in values.pop("nodes"))
        return cls(nodes=nodes, **values)


def several(node: HostSettings, count: int) -> tuple[HostSettings, ...]:
    """Hosts like that one: node1, node2 ..., which do not share a port."""
    return tuple(
        node.replace(
            name=f"node{number}",
            remote_display_port_min=5900 + 100 * (number - 1),
            remote_display_port_max=5999 + 100 * (number - 1),
            migration_port_min=49152 + 64 * (number - 1),
            migration_port_max=49215 + 64 * (number - 1),
        )
        for number in range(1, count + 1)
    )
