# SPDX-License-Identifier: Apache-2.0

"""A guest with a real Linux, which says on its console what it sees of its hardware.

===========  ===============================================================
``image``    its disk, from Debian's kernel and busybox; needs no root
``root/``    what its first processes run
``console``  reads what it says
===========  ===============================================================

``tools/linux_guest.py`` fetches the packages and has the disk made below ``.venv``.
"""

from pathlib import Path

from devcloud.layout import TREE

FOLDER = TREE / ".venv" / "linux-guest"
DISK = FOLDER / "disk.qcow2"
#: Why there is no disk, where there is none.
REASON = FOLDER / "ready"


def disk() -> Path | None:
    """Return the guest's disk, or None where Debian's packages could not be had."""
    return DISK if DISK.exists() else None


def reason() -> str:
    """Return why there is no disk."""
    told = REASON.read_text() if REASON.exists() else ""
    return told or "the Linux guest is not made: make setup-linux"
