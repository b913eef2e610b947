# SPDX-License-Identifier: Apache-2.0

"""The kernel's count of ASIDs: misc.capacity and misc.current, as files.

Only a host that was asked to has them. The kernel counts at once; here it is the
guest's own start that writes the new count, and a watcher that sees its end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time

from . import slots
from .platform import Platform
from .proxy import detach

_KEYS = {slots.SEV: "sev", slots.SEV_ES_SNP: "sev_es"}
#: Of an ending QEMU the pipe may be closed before its slot, a moment later.
_MOMENT = 0.1


def capacity(platform: Platform) -> str:
    counts = {pool: len(slots.asids(platform, pool)) for pool in slots.POOLS}
    # The kernel leaves out what there is none of.
    return _text({pool: count for pool, count in counts.items() if count})


def write_current(platform: Platform) -> None:
    """What is in use now; one writer at a time, so that the last one is right."""
    with open(os.path.join(platform.slots, "count"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new = os.path.join(platform.control_group, "misc.current.new")
        with open(new, "w", encoding="ascii") as file:
            file.write(_text(slots.in_use(platform.slots)))
        os.replace(new, os.path.join(platform.control_group, "misc.current"))


def watch(platform: Platform) -> None:
    """Count this guest from now on, and no more when its QEMU has ended."""
    gone, alive = os.pipe()

    def wait() -> None:
        select.select([gone], [], [])
        time.sleep(_MOMENT)
        with contextlib.suppress(OSError):  # the host has gone as well
            write_current(platform)

    detach({gone}, wait)
    os.close(gone)
    os.set_inheritable(alive, True)
    write_current(platform)


def _text(counts: dict[str, int]) -> str:
    return "".join(f"{_KEYS[pool]} {count}\n" for pool, count in counts.items())
