# SPDX-License-Identifier: Apache-2.0
"""A compute host's first process: its libvirtd, and its nova-compute.

``python -m devcloud.multinode.node STATE NAME REPORT_FD``, in mount, UTS and
PID namespaces of its own. Whoever kills it has cut the host's power.
"""

import os
import selectors
import sys
import traceback

from devcloud.children import Children, Death
from devcloud.hosts import Host, compute_hosts
from devcloud.init import environment as environment_of
from devcloud.layout import Layout
from devcloud.multinode import config, network
from devcloud.multinode.attendant import Attendant
from devcloud.multinode.control import ControlError
from devcloud.reports import Reporter
from devcloud.settings import CloudSettings
from devcloud.simhost.settings import HostSettings

LIBVIRTD, COMPUTE = "libvirtd", "nova-compute"
NAMESPACES = ("--pid", "--mount", "--uts", "--mount-proc", "--propagation", "private")


def command(layout: Layout, name: str, report_fd: int) -> list[str]:
    """The command line that makes the namespaces and starts the host in them."""
    unshare = ["unshare", "--fork", "--kill-child", *NAMESPACES, "--"]
    module = [sys.executable, "-m", __name__]
    return [*unshare, *module, str(layout.state), name, str(report_fd)]


def log_name(process: str, node: str) -> str:
    return f"{process}-{node}"


class Node(Attendant):
    """One host that is switched on."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.layout = layout
        self.name = name
        self.host = _host(layout, name)
        self.children = Children()
        self.events = selectors.DefaultSelector()
        self.events.register(
            self.children.signals, selectors.EVENT_READ, self._see_who_died
        )

    def boot(self) -> None:
        self.host.prepare()
        self.start_process(LIBVIRTD)
        self.listen(self.layout.host(self.name) / "control")

    def start_process(self, name: str) -> None:
        match name:
            case "libvirtd":
                self._start_libvirtd()
            case "nova-compute":
                self._start_compute()
            case network.AGENT if CloudSettings.read(self.layout.settings).network:
                self._start_agent()
            case _:
                raise ControlError(f"a host has {LIBVIRTD} and {COMPUTE}")

    def _start_libvirtd(self) -> None:
        # The settings may have been changed since it was last up.
        self.host.settings = _current_settings(self.host)
        command, environment = self.host.libvirtd_command()
        self._spawn(LIBVIRTD, command, environment)
        self.host.wait_ready()

    def _start_compute(self) -> None:
        conf = config.host_conf(self.layout, self.name)
        # Another one than before, where the host has been given a newer Nova.
        python = CloudSettings.read(self.layout.settings).python(self.name)
        command = [str(python), "-m", "devcloud.multinode.compute"]
        command += ["--config-file", str(conf)]
        self._spawn(COMPUTE, command, environment_of(self.layout, python))

    def _start_agent(self) -> None:
        environment = environment_of(self.layout)
        path = f"{network.switch(self.layout).bin}:{environment['PATH']}"
        command = network.agent_command(self.layout, self.name)
        self._spawn(network.AGENT, command, {**environment, "PATH": path})

    def _spawn(
        self, name: str, command: list[str], environment: dict[str, str]
    ) -> None:
        log = self.layout.log(log_name(name, self.name))
        self.children.spawn(name, command, environment, log)

    def _see_who_died(self) -> list[Death]:
        deaths = self.children.reap()
        return [Death(f"{death.name} of {self.name}", death.how) for death in deaths]


def _host(layout: Layout, name: str) -> Host:
    settings = CloudSettings.read(layout.settings)
    (host,) = [h for h in compute_hosts(settings, layout) if h.settings.name == name]
    host.settings = _current_settings(host)
    return host


def _current_settings(host: Host) -> HostSettings:
    """What it was last set to; at its first start, what the cloud says."""
    file = host.layout.settings
    return HostSettings.from_json(file.read_text()) if file.exists() else host.settings


def main() -> int:
    layout, name = Layout(sys.argv[1]), sys.argv[2]
    report = Reporter(int(sys.argv[3]), name)
    os.set_inheritable(report.fd, False)
    node = Node(layout, name)
    try:
        node.boot()
    except Exception as exc:
        traceback.print_exc()
        report.failed(f"{type(exc).__name__}: {exc}")
        return 1
    report.ready(node.host.uri)
    node.stay()


if __name__ == "__main__":
    sys.exit(main())
