# SPDX-License-Identifier: Apache-2.0
"""The processes that init has started, and those it has inherited."""

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple


class Death(NamedTuple):
    """A process of ours that has ended."""

    name: str
    how: str


class Children:
    """Spawns named processes and reaps whatever ends."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        # A signal wakes the event loop through a socket: nothing is polled.
        self.signals, wakeup = socket.socketpair()
        for end in (self.signals, wakeup):
            end.setblocking(False)
        self._wakeup = wakeup
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def spawn(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        log: Path,
        fds: tuple[int, ...] = (),
    ) -> None:
        """Start a process that writes to its log and survives a Ctrl-C."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                start_new_session=True,
            )
        self._names[process.pid] = name
        # reap() waits for it; Popen's own waiting would only be in its way.
        process.returncode = 0

    def pid(self, name: str) -> int | None:
        """The process of that name, if it has not been reaped."""
        pids = {name: pid for pid, name in self._names.items()}
        return pids.get(name)

    def reap(self) -> list[Death]:
        """Who of ours has ended. Orphans are waited for and forgotten."""
        self.signals.recv(4096)
        deaths = []
        while (ended := _next_ended()) is not None:
            pid, status = ended
            if name := self._names.pop(pid, None):
                deaths.append(Death(name, _how(status)))
        return deaths


def _next_ended() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with exit status {os.WEXITSTATUS(status)}"
