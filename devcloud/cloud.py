# SPDX-License-Identifier: Apache-2.0
"""A cloud as its user sees it: start it, find it again, stop it."""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator

from devcloud import credentials, interrupts
from devcloud.endpoints import Ports
from devcloud.hosts import Host, compute_hosts
from devcloud.launch import Launch, missing_programs
from devcloud.layout import Layout
from devcloud.processes import ProcessId
from devcloud.reports import Report
from devcloud.settings import CloudSettings

#: Ending a cloud is one kill; the kernel needs a moment for its guests' memory.
END_TIMEOUT = 60.0


class CloudError(Exception):
    """The cloud did not do what was asked; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Running:
    """The record of a cloud that runs, kept in its state folder."""

    init: ProcessId
    since: str
    #: The process whose end ends the cloud, when there is one: a demo, a test.
    owner: ProcessId | None = None
    ready: bool = False

    @classmethod
    def read(cls, layout: Layout) -> "Running | None":
        try:
            values = json.loads(layout.running.read_text())
        except FileNotFoundError:
            return None
        owner = values.pop("owner")
        return cls(
            init=ProcessId(**values.pop("init")),
            owner=ProcessId(**owner) if owner else None,
            **values,
        )

    def write(self, layout: Layout) -> None:
        # Whole or not at all: status may read it at any time.
        new = layout.running.with_suffix(".new")
        new.write_text(json.dumps(dataclasses.asdict(self)) + "\n")
        new.replace(layout.running)


class Cloud:
    """The cloud of one state folder, running or not."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._launch: Launch | None = None

    @property
    def running(self) -> Running | None:
        """Its record, if it runs."""
        record = Running.read(self.layout)
        return record if record and record.init.alive() else None

    @property
    def settings(self) -> CloudSettings:
        return CloudSettings.read(self.layout.settings)

    @property
    def hosts(self) -> list[Host]:
        if not self.layout.settings.exists():
            return []
        return compute_hosts(self.settings, self.layout)

    @property
    def ports(self) -> Ports:
        return Ports.read(self.layout.ports)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its openrc sets."""
        return credentials.environment(self.settings, self.layout, self.ports)

    @property
    def shell_environment(self) -> dict[str, str]:
        """The environment of a shell that has sourced the openrc."""
        return {**os.environ, **self.environment}

    def start(
        self,
        settings: CloudSettings,
        *,
        held: bool,
        on_report: Callable[[Report], None] = lambda report: None,
    ) -> None:
        """Start it and wait until it is ready.

        A cloud that is held ends with the process that started it, however
        that ends; one that is not stays until it is stopped.
        """
        _check_machine()
        with self._locked(timeout=0) as lock:
            self.layout.create()
            settings.write(self.layout.settings)
            launch = self._launch = Launch(self.layout, held=held, lock=lock)
        owner = ProcessId.of(os.getpid()) if held else None
        try:
            self._await_ready(launch, owner, on_report)
        except BaseException:
            launch.process.kill()
            self.stop()
            raise

    def stop(self) -> bool:
        """Stop it and whoever holds it; true when there was something to stop."""
        record = Running.read(self.layout)
        if record is None and not self._is_locked():
            return False
        was_running = False
        if record:
            was_running = record.init.alive()
            self._end_owner(record.owner)
            if not record.init.end(signal.SIGKILL, END_TIMEOUT):
                raise CloudError(
                    f"process {record.init.pid} of the cloud in {self.layout.state} "
                    f"was killed and is still there after {END_TIMEOUT:.0f} s: see "
                    "what the kernel waits for (dmesg), then try again"
                )
        if self._launch:
            self._launch.process.wait()
            self._launch = None
        with self._locked(timeout=END_TIMEOUT):
            self.layout.retire()
            for host in self.hosts:
                host.forget()
        return was_running

    def _end_owner(self, owner: ProcessId | None) -> None:
        """Let a demo end in its own good order; insist if it does not."""
        if owner and owner.pid != os.getpid():
            owner.end(signal.SIGTERM, 20) or owner.end(signal.SIGKILL, 20)

    def _await_ready(
        self,
        launch: Launch,
        owner: ProcessId | None,
        on_report: Callable[[Report], None],
    ) -> None:
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        running: Running | None = None
        for report in launch.reports:
            if running is None:
                running = Running(launch.init(), since, owner)
                running.write(self.layout)
            interrupts.check()
            on_report(report)
            if report.event == "failed":
                raise self._start_failed(report)
            if report.who == "cloud" and report.event == "ready":
                dataclasses.replace(running, ready=True).write(self.layout)
                return
        raise self._start_failed(Report("cloud", "failed", "its init has ended"))

    def _start_failed(self, report: Report) -> CloudError:
        log = self.layout.log("init" if report.who == "cloud" else report.who)
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = text.splitlines()[-8:]
        end = "\n".join(f"  {line[:300]}" for line in lines)
        return CloudError(
            f"the cloud did not start: {report.text}\n"
            + (f"The end of {log}:\n{end}\n" if end else "")
            + f"All logs: {self.layout.logs}"
        )

    @contextlib.contextmanager
    def _locked(self, timeout: float) -> Iterator[int]:
        """The right to this state folder; a running cloud keeps it to itself."""
        self.layout.state.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + timeout
        try:
            while not _try_lock(fd):
                if time.monotonic() >= deadline:
                    raise CloudError(
                        f"another cloud runs, starts or stops in {self.layout.state}: "
                        "wait for it, or end it with `make cloud-down`"
                    )
                time.sleep(0.05)
            yield fd
        finally:
            os.close(fd)

    def _is_locked(self) -> bool:
        if not self.layout.lock.exists():
            return False
        try:
            with self._locked(timeout=0):
                return False
        except CloudError:
            return True


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise CloudError(
            "a cloud needs namespaces and mounts of its own, which only root may "
            "make: run it with sudo"
        )
    if missing := missing_programs():
        raise CloudError(
            f"not installed on this machine: {', '.join(missing)}. `make setup` "
            "installs what bindep.txt lists"
        )
