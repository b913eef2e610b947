# SPDX-License-Identifier: Apache-2.0
"""Moments in libvirt's work at which a test can hold it, to break something."""

import contextlib
import fcntl
import os
import select
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import Lab, eventually

HOOK, FOLDER = "/etc/libvirt/hooks/qemu", "/var/lib/libvirt/traps"
#: libvirt runs it with a guest's name and what is being done, and waits for its end.
SCRIPT = f"""#!/bin/sh
mv "{FOLDER}/$2" "{FOLDER}/$2.sprung" 2>/dev/null || exit 0
while test -e "{FOLDER}/$2.sprung"; do sleep 0.05; done
"""
CONFIG = "/etc/libvirt/qemu"
#: The least that a pipe holds: less than any of Nova's domains.
SMALLEST_PIPE = 4096
F_SETPIPE_SZ = 1031
TIMEOUT = 180

Wait = Callable[[], object]


def install(lab: Lab) -> None:
    """Have libvirtd run the hook: it looks for one only when it starts."""
    lab.host.layout.outside(FOLDER).mkdir(exist_ok=True)
    hook = lab.host.layout.outside(HOOK)
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(SCRIPT)
    hook.chmod(0o755)
    lab.restarts.restart_libvirtd()


@contextlib.contextmanager
def at(lab: Lab, operation: str) -> Iterator[Wait]:
    """Hold libvirt once, when it comes to an operation; what waits until it has.

    :param operation: libvirt's word for it: prepare (nothing runs yet), started
        (QEMU runs), stopped (QEMU has ended).
    """
    trap = lab.host.layout.outside(FOLDER) / operation
    sprung = trap.with_name(f"{operation}.sprung")
    trap.touch()
    try:
        yield lambda: eventually(f"libvirt is at {operation}", sprung.exists, TIMEOUT)
    finally:
        trap.unlink(missing_ok=True)
        sprung.unlink(missing_ok=True)


@contextlib.contextmanager
def defining(lab: Lab, name: str) -> Iterator[Wait]:
    """Hold libvirt half way through writing a domain's definition to its disk.

    What it writes to is a pipe, too small for it. Afterwards what it has written
    lies there, as after a crash.
    """
    path = lab.host.layout.outside(CONFIG) / f"{name}.xml.new"
    path.unlink(missing_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(pipe, F_SETPIPE_SZ, SMALLEST_PIPE)
    try:
        yield lambda: _written(pipe)
    finally:
        half = _read(pipe)
        os.close(pipe)
        path.unlink()
        path.write_bytes(half)


def next_name(lab: Lab) -> str:
    """What libvirt will call the server that Nova makes next."""
    database = Path(lab.cloud.layout.database("nova"))
    with contextlib.closing(
        sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    ) as db:
        (last,) = db.execute("select max(id) from instances").fetchone()
    return f"instance-{(last or 0) + 1:08x}"


def _written(pipe: int) -> None:
    readable, _, _ = select.select([pipe], [], [], TIMEOUT)
    assert readable, f"no domain was defined in {TIMEOUT} s"


def _read(pipe: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(pipe, SMALLEST_PIPE)
    return b""
