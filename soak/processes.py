# SPDX-License-Identifier: Apache-2.0
"""What the processes of nova-compute hold."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from devcloud.layout import Layout
from devcloud.multinode import config

_PROGRAM = b"devcloud.multinode.compute"
#: By so many files a nova-compute may grow: connections that it keeps for the next
#: time. What each update kept would be hundreds in ten minutes.
MORE_FILES = 30


@dataclasses.dataclass(frozen=True)
class Holding:
    """Of one process."""

    pid: int
    #: MiB.
    resident: float
    files: int
    threads: int

    def __str__(self) -> str:
        return f"{self.resident:.1f} MiB, {self.files} files, {self.threads} threads"


def complaint(before: Holding, after: Holding) -> str | None:
    """What is wrong with how a process has grown, None if nothing is.

    Memory is told and not judged here: it has the ups and downs of Nova's threads.
    """
    if after.pid != before.pid:
        return "it is not the same process any more"
    grown = after.files - before.files
    return f"{grown} more files are open" if grown > MORE_FILES else None


def of_nova_compute(layout: Layout, host: str) -> Holding:
    """Of the nova-compute of one of the cloud's hosts."""
    conf = os.fsencode(config.host_conf(layout, host))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if _PROGRAM in words and conf in words:
                return _holding(folder)
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise RuntimeError(f"nova-compute of {host} does not run")


def _holding(folder: Path) -> Holding:
    pages = int((folder / "statm").read_text().split()[1])
    return Holding(
        pid=int(folder.name),
        resident=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        files=len(list((folder / "fd").iterdir())),
        threads=len(list((folder / "task").iterdir())),
    )
