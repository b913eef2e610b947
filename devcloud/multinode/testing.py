# SPDX-License-Identifier: Apache-2.0
"""A cloud with several hosts for tests: ``MultinodeFixture``."""

import contextlib
import dataclasses
import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import libvirt
from openstack.utils import iterate_timeout

from devcloud.demo.domain import DomainFacts
from devcloud.multinode.node import COMPUTE
from devcloud.multinode.power import ComputeHost
from devcloud.settings import DRIVER, several
from devcloud.simhost.settings import HostSettings
from devcloud.testing import CloudFixture

TIMEOUT = 180
SLOT_TIMEOUT = 120
PROVIDER = "_amd_sev"


class Slots(NamedTuple):
    """The encrypted guests of one host, by three that count for themselves."""

    placement: int
    libvirt: int
    simulator: int

    @classmethod
    def all(cls, count: int) -> "Slots":
        """What they say when they agree."""
        return cls(count, count, count)


class MultinodeFixture(CloudFixture):
    """A running cloud with several simulated hosts.

    :param host: settings of each of its hosts
    """

    def __init__(
        self,
        state: Path,
        *,
        count: int = 2,
        driver: str = DRIVER,
        volumes: str = "",
        network: str = "",
        vhost_user: bool = False,
        nova: dict[str, dict[str, str]] | None = None,
        **host: Any,
    ) -> None:
        super().__init__(state, nova=nova)
        self.settings = dataclasses.replace(
            self.settings,
            host="simulated",
            driver=driver,
            volumes=volumes,
            network=network,
            vhost_user=vhost_user,
            nodes=several(HostSettings(**host), count),
        )
        names = [node.name for node in self.settings.nodes]
        self.hosts = {name: ComputeHost(self.cloud, name) for name in names}

    def slots(self) -> dict[str, Slots]:
        """The slots in use, by host."""
        usage = self.usage()
        return {
            name: Slots(
                usage.get(name + PROVIDER, 0),
                sum("<launchSecurity" in xml for xml in host.running_guests()),
                host.slots_in_use()["sev"],
            )
            for name, host in self.hosts.items()
        }

    def check_slots(self, expected: dict[str, Slots]) -> None:
        """Fail unless these are in use, or soon are.

        Nova gives a slot back a moment after it has told the user of the end.
        """
        deadline = time.monotonic() + SLOT_TIMEOUT
        while (found := self.slots()) != expected:
            assert time.monotonic() < deadline, (  # nosec B101  # of the tests
                f"{found} instead of {expected}"
            )
            time.sleep(0.3)

    def host_of(self, server: Any) -> ComputeHost:
        return self.hosts[server.compute_host]

    def other(self, host: ComputeHost) -> ComputeHost:
        """Of two hosts."""
        (other,) = (found for found in self.hosts.values() if found is not host)
        return other

    def guest(self, server: Any) -> DomainFacts:
        """What runs of a server, on whichever host it does."""
        found = [
            xml
            for host in self.hosts.values()
            for xml in host.running_guests()
            if f"<uuid>{server.id}</uuid>" in xml
        ]
        assert len(found) == 1, (  # nosec B101  # of the tests
            f"{server.name} runs on {len(found)} hosts"
        )
        return DomainFacts.of(found[0])

    @contextlib.contextmanager
    def domain_of(self, server: Any) -> Iterator[libvirt.virDomain]:
        """What libvirt has of a server, on the host on which it is."""
        server = self.connection.compute.get_server(server)
        with self.host_of(server).libvirt() as connection:
            yield connection.lookupByName(server.instance_name)

    def check_iommu(self, server: Any) -> None:
        """Fail unless a server runs encrypted, with iommu on each of its devices."""
        facts = self.guest(server)
        assert facts.launch_security == "sev"  # nosec B101  # of the tests
        assert facts.virtio and all(facts.virtio.values()), (  # nosec B101
            facts.virtio
        )

    def settled(self, server: Any, *passing: str) -> Any:
        """The server once Nova is done with it and it has none of these states."""
        for _ in _until(f"{server.name} is still {server.status}"):
            server = self.connection.compute.get_server(server)
            if server.task_state is None and server.status not in passing:
                return self.with_fault(server)

    def migrate(self, server: Any) -> Any:
        """The server when it waits for a confirmation, or has not moved."""
        self.connection.compute.migrate_server(server)
        return self.settled(server)

    def resize(self, server: Any, flavor: str) -> Any:
        self.connection.compute.resize_server(server, flavor)
        return self.settled(server)

    def confirm(self, server: Any) -> Any:
        self.connection.compute.confirm_server_resize(server)
        return self.settled(server, "VERIFY_RESIZE")

    def revert(self, server: Any) -> Any:
        self.connection.compute.revert_server_resize(server)
        return self.settled(server, "VERIFY_RESIZE", "REVERT_RESIZE")

    def evacuate(self, server: Any) -> Any:
        """The server when it is another host's, or has failed to become that.

        It is off then: since API version 2.95 its user starts it.
        """
        self.connection.compute.evacuate_server(server)
        dead = server.compute_host
        for _ in _until(f"{server.name} is still on {dead}"):
            server = self.connection.compute.get_server(server)
            # While it is being rebuilt it is idle for a moment.
            moved = server.compute_host != dead
            if server.task_state is None and (moved or server.status == "ERROR"):
                return self.with_fault(server)

    def take_for_dead(self, host: ComputeHost, dead: bool) -> None:
        """Tell Nova so, as an operator does who need not wait for it to see."""
        self.connection.compute.update_service_forced_down(
            self._service(host), forced=dead
        )

    @contextlib.contextmanager
    def restart_of(self, host: ComputeHost) -> Iterator[None]:
        """Wait for the first sign of life of the nova-compute started within."""
        yield
        # Only now: while it was being stopped, the old one still gave signs.
        started = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        for _ in _until(f"nova-compute of {host.name} is not up"):
            service = self._service(host)
            # One that was killed soon after its first start has given none yet.
            if not service.updated_at:
                continue
            seen = datetime.datetime.fromisoformat(service.updated_at)
            # A newer Nova first writes its version down, which is no sign of life.
            up = service.state == "up" or service.is_forced_down
            if up and seen > started:
                return

    def _service(self, host: ComputeHost) -> Any:
        services = self.connection.compute.services(host=host.name, binary=COMPUTE)
        (service,) = services
        return service


def _until(complaint: str) -> Iterator[int]:
    # Nova tells nobody: one has to look again.
    return iterate_timeout(TIMEOUT, complaint, wait=0.3)
