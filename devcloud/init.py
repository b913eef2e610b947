# SPDX-License-Identifier: Apache-2.0
"""The cloud's first process: pid 1 of its own namespaces.

``python -m devcloud.init STATE REPORT_FD``. It prepares the host, starts
libvirtd and the services, tells how that goes, and then only reaps. When it
dies, by whatever signal, the kernel takes every process, mount and namespace
of the cloud with it: that is how a cloud is stopped.
"""

import os
import selectors
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from devcloud import credentials, endpoints
from devcloud.children import Children, Death
from devcloud.config import glance, keystone, nova, placement
from devcloud.hosts import compute_host
from devcloud.layout import TREE, Layout
from devcloud.reports import Report, Reporter, ReportReader
from devcloud.settings import CloudSettings

CONFIGS = (keystone, placement, glance, nova)
#: The slow ones first: all others wait for keystone.
SERVICES = ("keystone", "placement", "glance", "neutron")

#: That of all services but, where the settings say so, Nova.
PYTHON = Path(sys.executable)
#: After so many seconds without a word, say what is being waited for.
QUIET = 10
START_TIMEOUT = 300


class ServiceDied(Exception):
    """A process has ended before the cloud was up."""

    def __init__(self, death: Death) -> None:
        super().__init__(f"{death.name} {death.how}")
        self.death = death


class Init:
    """Starts one cloud and stays with it."""

    def __init__(self, layout: Layout, report: Reporter) -> None:
        self.layout = layout
        self.report = report
        self.settings = CloudSettings.read(layout.settings)
        self.children = Children()
        self.starting: set[str] = set()
        self.since = time.monotonic()
        read, self.services_fd = os.pipe()
        self.services = ReportReader(read)
        self.events = selectors.DefaultSelector()
        self.events.register(read, selectors.EVENT_READ, self._pass_on_reports)
        self.events.register(
            self.children.signals, selectors.EVENT_READ, self._see_who_died
        )

    def start(self) -> None:
        """Start everything; return when all services are ready."""
        # More hosts will each want namespaces of their own: one for now.
        (node,) = self.settings.nodes
        listeners = self._configure()
        # The services start while the host is made ready.
        for name in SERVICES:
            self._start_service(name, *listeners[name])
        self.report.progress(f"preparing the compute host {node.name}")
        host = compute_host(self.settings, self.layout, node)
        host.prepare()
        command, environment = host.libvirtd_command()
        self.children.spawn(
            "libvirtd", command, environment, self.layout.log("libvirtd")
        )
        host.wait_ready()
        self._start_service("nova", *listeners["nova"])
        while self.starting:
            for death in self._next_deaths():
                raise ServiceDied(death)

    def stay(self) -> NoReturn:
        """Reap for ever, and say what of the cloud has ended."""
        while True:
            for death in self._next_deaths():
                line = f"{time.ctime()}: {death.name} {death.how}"
                with self.layout.deaths.open("a") as file:
                    print(line, file=file)

    def _listen(self) -> endpoints.Listeners:
        listeners = endpoints.listen(self.settings.optional_services)
        return {name: [listener] for name, listener in listeners.items()}

    def _configure(self) -> endpoints.Listeners:
        listeners = self._listen()
        ports = endpoints.Ports.of(listeners)
        ports.write(self.layout.ports)
        credentials.write(self.settings, self.layout, ports)
        for config in CONFIGS:
            config.write(self.settings, self.layout, ports)
        return listeners

    def _start_service(self, name: str, *listeners: socket.socket) -> None:
        listening = [listener.fileno() for listener in listeners]
        fds = (*listening, self.services_fd)
        python = self.settings.python() if name == "nova" else PYTHON
        command = [str(python), "-m", "devcloud.services", name, str(self.layout.state)]
        for number in listening:
            command += ["--listen", str(number)]
        command += ["--report", str(self.services_fd)]
        variables = environment(self.layout, python)
        self.children.spawn(name, command, variables, self.layout.log(name), fds)
        self.starting.add(name)

    def _next_deaths(self) -> list[Death]:
        """Wait for something to happen; return who died of it."""
        events = self.events.select(QUIET if self.starting else None)
        if not events and self.starting:
            self._still_waiting()
        return [death for key, _ in events for death in key.data()]

    def _still_waiting(self) -> None:
        names = ", ".join(sorted(self.starting))
        if time.monotonic() - self.since > START_TIMEOUT:
            raise TimeoutError(f"still not ready after {START_TIMEOUT} s: {names}")
        self.report.progress(f"still waiting for {names}")

    def _pass_on_reports(self) -> list[Death]:
        for report in self.services.read() or ():
            if report.event == "ready":
                self.starting.discard(report.who)
            self.report.pass_on(report)
        return []

    def _see_who_died(self) -> list[Death]:
        return self.children.reap()


def environment(layout: Layout, python: Path = PYTHON) -> dict[str, str]:
    """What the services see of ours: nothing that could mislead them.

    :param python: whose programs come first in PATH.
    """
    kept = ("HOME", "LANG", "LC_ALL", "PYTHONDONTWRITEBYTECODE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment["PATH"] = f"{python.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    environment["PYTHONPATH"] = str(TREE)
    # A socket's address holds 107 bytes, and privsep makes its sockets there.
    if len(os.fsencode(layout.tmp)) < 70:
        environment["TMPDIR"] = str(layout.tmp)
    return environment


def main(kind: type[Init] = Init) -> int:
    layout = Layout(sys.argv[1])
    report = Reporter(int(sys.argv[2]), "cloud")
    os.set_inheritable(report.fd, False)
    init = kind(layout, report)
    try:
        init.start()
    except BrokenPipeError:
        return 1  # nobody waits for this cloud any more
    except ServiceDied as exc:
        report.pass_on(Report(exc.death.name, "failed", str(exc)))
        return 1
    except Exception as exc:
        traceback.print_exc()
        report.failed(f"{type(exc).__name__}: {exc}")
        return 1
    report.ready()
    os.close(report.fd)
    init.stay()


if __name__ == "__main__":
    sys.exit(main())
