# SPDX-License-Identifier: Apache-2.0
"""A compute host as one who stands before it: power, processes, hardware."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt

from devcloud.cloud import Cloud
from devcloud.multinode import control
from devcloud.multinode.node import COMPUTE, LIBVIRTD, log_name
from devcloud.simhost.host import SimulatedHost
from devcloud.simhost.settings import HostSettings

# libvirt-python prints what it also raises.
libvirt.registerErrorHandler(lambda *_: None, None)


class ComputeHost:
    """One host of a running cloud."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.name = name
        self._cloud = cloud
        self._folder = cloud.layout.host(name)
        self._host = SimulatedHost(HostSettings(name=name), self._folder)

    @property
    def uri(self) -> str:
        """Of its libvirt."""
        return self._host.uri

    @property
    def settings(self) -> HostSettings:
        return HostSettings.from_json(self._host.layout.settings.read_text())

    def slots_in_use(self) -> dict[str, int]:
        """By the simulator's own count, also when the host is off."""
        return self._host.slots_in_use()

    def running_guests(self) -> list[str]:
        """The XML of the domains that run on it: of none when it is off."""
        with contextlib.suppress(libvirt.libvirtError), self.libvirt() as connection:
            domains = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return [domain.XMLDesc() for domain in domains]
        return []

    @contextlib.contextmanager
    def libvirt(self) -> Iterator[libvirt.virConnect]:
        """A connection to its libvirt."""
        with contextlib.closing(libvirt.open(self.uri)) as connection:
            yield connection

    def outside(self, inside: str) -> Path:
        """Where a path in a folder of its libvirt's is for the machine."""
        return self._host.layout.outside(inside)

    def log(self, process: str = COMPUTE) -> str:
        return self._cloud.layout.log(log_name(process, self.name)).read_text()

    def switch_off(self) -> None:
        """Cut its power. All that runs on it is gone; its disk is not."""
        control.ask(self._cloud.layout.control, "kill", self.name)

    def switch_on(self) -> None:
        """Return when libvirtd is up and nova-compute is starting."""
        control.ask(self._cloud.layout.control, "start", self.name)

    def start(self, process: str) -> None:
        control.ask(self._folder / "control", "start", process)

    def stop(self, process: str) -> None:
        """As systemctl does: kill it when it takes too long."""
        control.ask(self._folder / "control", "stop", process)

    def kill(self, process: str) -> None:
        control.ask(self._folder / "control", "kill", process)

    def change(self, **settings: Any) -> None:
        """Change its simulated hardware under libvirtd and Nova: guests that start
        from now on meet it. Those that run stay, other than with real hardware.
        """
        self._host.settings = self.settings
        self._host.set(**settings)

    def change_and_restart(self, **settings: Any) -> None:
        """The same for a libvirtd and a nova-compute that look anew.

        Return when nova-compute is starting.
        """
        # It would put the host out of service for as long as libvirtd is away,
        # and until it next has to do with it.
        self.kill(COMPUTE)
        self.stop(LIBVIRTD)
        self.change(**settings)
        self.start(LIBVIRTD)
        self.start(COMPUTE)
