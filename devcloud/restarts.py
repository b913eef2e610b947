# SPDX-License-Identifier: Apache-2.0
"""Ends and starts again single programs of a running cloud with one host.

They start as the cloud's own init started them, in its namespaces, so that they
end with it.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from devcloud.cloud import Cloud, CloudError
from devcloud.config import nova
from devcloud.endpoints import listen_again
from devcloud.init import environment
from devcloud.processes import ProcessId
from devcloud.reports import ReportReader
from devcloud.simhost.layout import LIBVIRTD

#: What stands in its command line, and in no other of the cloud.
DAEMON = f"{LIBVIRTD}\0"
#: A host that loses a program has it ended at once, by SIGKILL.
END_TIMEOUT = 20.0


class Restarts:
    """Of nova (all of it is one process here), of other services and of libvirtd."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        (self.host,) = cloud.hosts
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def kill_nova(self) -> None:
        self.kill("nova")

    def start_nova(self, overlay: dict[str, dict[str, str]] | None = None) -> None:
        """Return when it is ready.

        :param overlay: what to lay over nova.conf from now on; None leaves it.
        """
        layout = self._cloud.layout
        settings = self._cloud.settings
        if overlay is not None:
            settings = dataclasses.replace(settings, nova=overlay)
            settings.write(layout.settings)
        nova.write(settings, layout, self._cloud.ports)
        self.start("nova")

    def kill(self, service: str) -> None:
        """End a web service by SIGKILL: who asks it finds its port closed."""
        self._kill(_words(service))

    def start(self, service: str) -> None:
        """Return when it is ready."""
        layout, ports = self._cloud.layout, self._cloud.ports
        read, write = os.pipe()
        with listen_again(ports.numbers[service], END_TIMEOUT) as web:
            command = [sys.executable, "-m", "devcloud.services", service]
            command += [str(layout.state), "--listen", str(web.fileno())]
            command += ["--report", str(write)]
            fds = (web.fileno(), write)
            log = layout.log(service)
            self._spawn(_words(service), command, environment(layout), log, fds)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            if not any(r.event == "ready" for r in ReportReader(pipe.fileno())):
                raise CloudError(f"{service} did not start: see {layout.log(service)}")

    @contextlib.contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """Stop a web service by SIGSTOP: who asks it waits for an answer."""
        (process,) = self._processes(_words(service))
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGCONT)
            # nsenter stops with what it has started, and would wait for ever.
            if entrance := self._started.get(_words(service)):
                entrance.send_signal(signal.SIGCONT)

    def restart_nova(self, overlay: dict[str, dict[str, str]] | None = None) -> None:
        self.kill_nova()
        self.start_nova(overlay)

    def restart_libvirtd(self) -> None:
        """Return when it is up; guests go on meanwhile."""
        self.kill_libvirtd()
        self.start_libvirtd()

    def kill_libvirtd(self) -> None:
        self._kill(DAEMON)

    def start_libvirtd(self) -> None:
        """Return when it is up."""
        command, environment = self.host.libvirtd_command()
        log = self._cloud.layout.log("libvirtd")
        self._spawn(DAEMON, command, environment, log)
        self.host.wait_ready()

    def start_guest(self, name: str, command: list[str]) -> None:
        """Without libvirt: a QEMU whose ``-name`` is ``guest=NAME,``."""
        layout = self._cloud.layout
        log = layout.log(name)
        self._spawn(f"guest={name},", command, environment(layout), log)

    def kill_guest(self, name: str) -> None:
        """Of libvirt's name, such as instance-00000001, by SIGKILL."""
        self._kill(f"guest={name},", program="qemu-system-x86_64")

    def run(self, *command: str) -> str:
        """What a command in the cloud's namespaces says."""
        return subprocess.run(
            [*self._entrance, *command], check=True, capture_output=True, text=True
        ).stdout

    @property
    def _init(self) -> int:
        running = self._cloud.running
        if running is None:
            raise CloudError("the cloud does not run")
        return running.init.pid

    @property
    def _entrance(self) -> list[str]:
        namespaces = ("--mount", "--uts", "--pid")
        return ["nsenter", "--target", str(self._init), *namespaces, "--"]

    def _spawn(
        self,
        words: str,
        command: list[str],
        environment: dict[str, str],
        log: Path,
        fds: tuple[int, ...] = (),
    ) -> None:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self._entrance, *command],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                start_new_session=True,
            )
        self._started[words] = process

    def _kill(self, words: str, program: str = "") -> None:
        """:param program: not those that only have been started by such a line."""
        found = list(self._processes(words, program))
        if not found:
            raise CloudError(f"nothing to end: no process of this cloud has {words!r}")
        for process in found:
            if not process.end(signal.SIGKILL, END_TIMEOUT):
                raise CloudError(f"process {process.pid} was killed and is still there")
        # nsenter, too, has the files that it was to hand on.
        if entrance := self._started.pop(words, None):
            entrance.wait(END_TIMEOUT)

    def _processes(self, words: str, program: str = "") -> Iterator[ProcessId]:
        """Those of this cloud, not of another, whose command line has the words."""
        namespace = os.readlink(f"/proc/{self._init}/ns/pid")
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns/pid") != namespace:
                    continue
                if program not in os.readlink(folder / "exe"):
                    continue
                if words.encode() in (folder / "cmdline").read_bytes():
                    yield ProcessId.of(int(folder.name))
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue


def _words(service: str) -> str:
    """What stands in its command line, and in no other of the cloud."""
    return f"devcloud.services\0{service}\0"
