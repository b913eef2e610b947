# SPDX-License-Identifier: Apache-2.0
"""Processes by pid and start time, so that a recycled pid is never taken."""

import ctypes
import dataclasses
import os
import select
import signal
from pathlib import Path

#: prctl(2)
PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True)
class ProcessId:
    """One process, for as long as the machine runs."""

    pid: int
    #: In clock ticks since the machine's start.
    started: int
    #: A machine that was restarted begins again with both.
    boot: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        return cls(pid, _start_time(pid), _boot_id())

    def alive(self) -> bool:
        try:
            return self.boot == _boot_id() and self.started == _start_time(self.pid)
        except ProcessLookupError:
            return False

    def end(self, number: signal.Signals, timeout: float) -> bool:
        """Send the signal and wait for the end; true when it is gone."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # From here on the descriptor stands for whoever has the pid now:
            # only a look after opening it tells who that is.
            if not self.alive():
                return True
            signal.pidfd_send_signal(fd, number)
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(timeout * 1000))
        finally:
            os.close(fd)


def only_child(pid: int) -> int:
    """The pid of a process's one child."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _start_time(pid: int) -> int:
    """Field 22 of proc_pid_stat(5); a zombie counts as gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    # The name, in brackets, may hold anything.
    state, *fields = stat.rpartition(")")[2].split()
    if state in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[18])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
