# SPDX-License-Identifier: Apache-2.0
"""The encryption keys' places, ASIDs: one file each, locked while in use.

QEMU itself holds the lock, through a file descriptor it inherited: however it ends,
the kernel frees the slot. Who looks at the locks takes the pool's own lock first,
since to look at one is to take it for a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from .command_line import CommandLine
from .platform import Platform

SEV = "sev"
SEV_ES_SNP = "sev_es_snp"
POOLS = (SEV, SEV_ES_SNP)


def pool(command: CommandLine) -> str:
    """The pool that this guest's ASID comes from."""
    return SEV_ES_SNP if command.es or command.snp else SEV


def asids(platform: Platform, pool_name: str) -> range:
    """The ASIDs of a pool, as CPUID 0x8000001F divides them."""
    if pool_name == SEV:
        return range(platform.min_asid, platform.max_asid + 1)
    return range(1, platform.min_asid)


def take(folder: str, pool_name: str, candidates: range) -> int | None:
    """Lock a free ASID; a file descriptor that exec keeps, or None."""
    with _locked_pool(folder, pool_name) as pool_folder:
        for asid in candidates:
            fd = os.open(os.path.join(pool_folder, str(asid)), os.O_RDWR | os.O_CREAT)
            if _lock(fd):
                os.set_inheritable(fd, True)
                return fd
            os.close(fd)
    return None


def in_use(folder: str) -> dict[str, int]:
    """How many ASIDs of each pool some process holds now."""
    return {pool_name: _count(folder, pool_name) for pool_name in POOLS}


def _count(folder: str, pool_name: str) -> int:
    held = 0
    with _locked_pool(folder, pool_name) as pool_folder:
        for name in os.listdir(pool_folder):
            fd = os.open(os.path.join(pool_folder, name), os.O_RDWR)
            held += not _lock(fd)
            os.close(fd)
    return held


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _locked_pool(folder: str, pool_name: str) -> Iterator[str]:
    path = os.path.join(folder, pool_name)
    os.makedirs(path, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(fd)
