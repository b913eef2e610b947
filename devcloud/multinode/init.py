# SPDX-License-Identifier: Apache-2.0
"""The first process of a cloud with several hosts."""

import selectors
import shutil
import sys
import time

from devcloud import open_vswitch
from devcloud.children import Death
from devcloud.config import cinder, neutron
from devcloud.endpoints import Listeners, Ports
from devcloud.init import SERVICES, Init, ServiceDied, main
from devcloud.init import environment as environment_of
from devcloud.multinode import (
    config,
    control,
    mariadb,
    network,
    node,
    rabbitmq,
    volumes,
)
from devcloud.multinode.attendant import Attendant
from devcloud.multinode.control import ControlError
from devcloud.multinode.readiness import ReadinessSocket
from devcloud.processes import only_child
from devcloud.reports import Report
from devcloud.services import nova_api

CONDUCTOR, SCHEDULER = "nova-conductor", "nova-scheduler"
#: For a host that is switched on in a running cloud.
BOOT_TIMEOUT = 90.0


class ClusterInit(Attendant, Init):
    """Starts one cloud, and stays with it and its hosts."""

    up = False

    def start(self) -> None:
        """Start everything; return when all services are ready."""
        _check_machine()
        listeners = self._configure()
        # Nova waits for its databases, and all others wait for keystone.
        self._start_databases()
        for name in SERVICES:
            # Of the two neutrons, the stand-in needs no database.
            if not (name == network.NAME and self.settings.network):
                self._start_service(name, *listeners[name])
        self._start_queue()
        self._prepare_for_hosts()
        for name in self.nodes:
            self._switch_on(name)
        self._until_ready(mariadb.NAME)
        self._start_service("nova", *listeners["nova"])
        self.starting |= {nova_api.DATABASES, CONDUCTOR}
        self._start_optional_services(listeners)
        self._until_ready(nova_api.DATABASES, rabbitmq.NAME)
        self._start_nova(CONDUCTOR)
        self._start_nova(SCHEDULER)
        self._start_optional_programs()
        self._until_ready(CONDUCTOR, *self.nodes)
        for name in self.nodes:
            self._start_compute(name)
        if self.settings.network:
            # An agent whose first call nobody answers waits long before the next.
            self._until_ready(network.RPC)
            for name in self.nodes:
                self._start_agent(name)
        self._until_ready()
        self.listen(self.layout.control)
        self.up = True

    def _prepare_for_hosts(self) -> None:
        """What the hosts come to see too."""
        if self.settings.network:
            self._start_switch()
        if self.settings.volumes:
            volumes.provide_nfs(self.settings, self.layout)

    def _start_optional_services(self, listeners: Listeners) -> None:
        """Those with a database that not every cloud has."""
        if self.settings.volumes:
            self._start_service(volumes.NAME, *listeners[volumes.NAME])
            self.starting.add(volumes.DATABASE)
        if self.settings.network:
            self._start_service(network.NAME, *listeners[network.NAME])
            self.starting |= {network.DATABASE, network.RPC}

    def _start_optional_programs(self) -> None:
        """What belongs to these services, once they have made their databases."""
        if self.settings.volumes:
            self._until_ready(volumes.DATABASE)
            for name in volumes.PROGRAMS:
                self._start_cinder(name)
        if self.settings.network:
            self._until_ready(network.DATABASE)
            self._start_of_network(network.RPC_SERVER)

    @property
    def nodes(self) -> list[str]:
        return [settings.name for settings in self.settings.nodes]

    def start_process(self, name: str) -> None:
        self.since = time.monotonic()
        if name in self.nodes:
            self._switch_on(name)
            self._until_ready(name)
            self._start_compute(name)
            if self.settings.network:
                self._start_agent(name)
        elif name in (CONDUCTOR, SCHEDULER):
            self._start_nova(name)
        elif self.settings.volumes and name in volumes.PROGRAMS:
            self._start_cinder(name)
        elif self.settings.network and name in network.PROGRAMS:
            self._start_of_network(name)
        else:
            raise ControlError("only hosts, nova-conductor and nova-scheduler")

    def target(self, name: str) -> int | None:
        pid = super().target(name)
        # A host is its first process; unshare only waits for that one.
        return only_child(pid) if pid and name in self.nodes else pid

    def _listen(self) -> Listeners:
        listeners = super()._listen()
        if self.settings.network:
            network.leave_the_machines()
            for sockets in listeners.values():
                sockets.append(network.listen_at(sockets[0]))
        return listeners

    def _configure(self) -> Listeners:
        listeners = super()._configure()
        ports = Ports.of(listeners)
        self.databases = mariadb.MariaDB(self.settings, self.layout)
        self.queue = rabbitmq.RabbitMQ(self.settings, self.layout)
        self.databases.write()
        self.queue.write()
        config.write(
            self.settings,
            self.layout,
            ports,
            queue=self.queue,
            databases=self.databases,
        )
        if self.settings.volumes:
            cinder.write(
                self.settings,
                self.layout,
                ports,
                queue=self.queue.url,
                database=self.databases.url(mariadb.CINDER),
            )
        if self.settings.network:
            neutron.write(
                self.settings,
                self.layout,
                ports,
                queue=self.queue.url,
                database=self.databases.url(mariadb.NEUTRON),
            )
        return listeners

    def _start_databases(self) -> None:
        fds = (self.databases.listener.fileno(),)
        environment = environment_of(self.layout)
        self._start_server(mariadb.NAME, self.databases.command(), environment, fds)

    def _start_queue(self) -> None:
        command, environment = self.queue.command(), self.queue.environment()
        self._start_server(rabbitmq.NAME, command, environment)

    def _start_server(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        fds: tuple[int, ...] = (),
    ) -> None:
        """Start one that tells by itself when it is up."""
        readiness = ReadinessSocket()
        environment = environment | readiness.environment

        def see() -> list[Death]:
            if readiness.is_ready():
                self.events.unregister(readiness)
                readiness.close()
                self._take(Report(name, "ready"))
            return []

        self.events.register(readiness, selectors.EVENT_READ, see)
        self.children.spawn(name, command, environment, self.layout.log(name), fds)
        self.starting.add(name)

    def _start_nova(self, name: str) -> None:
        """One of Nova's own scripts."""
        python = self.settings.python()
        conf = config.control_conf(self.layout)
        command = [str(python.with_name(name)), "--config-file", str(conf)]
        environment = environment_of(self.layout, python)
        self.children.spawn(name, command, environment, self.layout.log(name))

    def _start_cinder(self, name: str) -> None:
        """One of Cinder's own scripts."""
        self._spawn(name, volumes.command(self.layout, name))

    def _start_switch(self) -> None:
        """Open vSwitch, and what connects the hosts in it."""
        ovs = network.switch(self.layout)
        ovs.create()
        self._spawn(open_vswitch.SERVER, ovs.server_command())
        ovs.await_server()
        if self.settings.vhost_user:
            ovs.use_dpdk(iommu=True)
        self._start_of_network(open_vswitch.SWITCH)
        network.connect_hosts(self.settings, ovs)

    def _start_of_network(self, name: str) -> None:
        """One of network.PROGRAMS."""
        self._spawn(name, network.command(self.layout, name))

    def _spawn(self, name: str, command: list[str]) -> None:
        environment = environment_of(self.layout)
        self.children.spawn(name, command, environment, self.layout.log(name))

    def _start_agent(self, name: str) -> None:
        """That of one host."""
        control.ask(self.layout.host(name) / "control", "start", network.AGENT)

    def _switch_on(self, name: str) -> None:
        command = node.command(self.layout, name, self.services_fd)
        log, fds = self.layout.log(name), (self.services_fd,)
        self.children.spawn(name, command, environment_of(self.layout), log, fds)
        self.starting.add(name)

    def _start_compute(self, name: str) -> None:
        control.ask(self.layout.host(name) / "control", "start", node.COMPUTE)

    def _until_ready(self, *names: str) -> None:
        """Wait until these are ready, or all that are starting."""
        while self.starting & set(names) if names else self.starting:
            for death in self._next_deaths():
                raise ServiceDied(death)

    def _still_waiting(self) -> None:
        if not self.up:
            super()._still_waiting()
        elif time.monotonic() - self.since > BOOT_TIMEOUT:
            raise TimeoutError(f"it is not up after {BOOT_TIMEOUT:.0f} s")

    def _pass_on_reports(self) -> list[Death]:
        for report in self.services.read() or ():
            self._take(report)
        return []

    def _take(self, report: Report) -> None:
        if report.event == "ready":
            self.starting.discard(report.who)
        # Once the cloud is up nobody listens any more.
        if not self.up:
            self.report.pass_on(report)


def _check_machine() -> None:
    programs = (mariadb.SERVER, mariadb.INSTALL, str(rabbitmq.SERVER))
    if missing := [name for name in programs if shutil.which(name) is None]:
        raise FileNotFoundError(
            f"not installed on this machine: {', '.join(missing)}. "
            "`make setup-multinode` installs what bindep.txt lists for it"
        )


if __name__ == "__main__":
    sys.exit(main(ClusterInit))
