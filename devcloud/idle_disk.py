# SPDX-License-Identifier: Apache-2.0

"""A disk whose guest halts its processor as soon as it has booted.

An empty disk leaves a guest in the firmware's shell, where it polls for a key and
keeps half a core busy under emulation. This one boots by BIOS and by UEFI into the
same three instructions, and a test that starts many guests waits for none of them.
"""

import struct
from pathlib import Path

from devcloud import boot_disk
from devcloud.boot_disk import SECTOR

SIZE = 16 << 20
#: cli, hlt, jump back to hlt: nothing but a reset ends it.
HALT = b"\xfa\xf4\xeb\xfd"


def write(path: Path) -> None:
    """Write the disk to ``path``, in qcow2."""
    boot_disk.write(path, program(), SIZE, HALT)


def program() -> bytes:
    """Return the program for UEFI: a PE32+ image of one section (PE/COFF, 2 to 4)."""
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 0xF0, 0x0022)
    optional = struct.pack(
        "<HBBIIIII", 0x20B, 0, 0, SECTOR, 0, 0, 0x1000, 0x1000
    ) + struct.pack(
        "<QIIHHHHHHIIIIHHQQQQII",
        *(0, 0x1000, SECTOR),
        *(0, 0, 0, 0, 0, 0, 0),
        *(0x2000, SECTOR, 0),
        *(10, 0),  # an EFI application
        *(0, 0, 0, 0),
        *(0, 16),
    )
    section = struct.pack(
        "<8sIIIIIIHHI", b".text", 4, 0x1000, SECTOR, SECTOR, 0, 0, 0, 0, 0x60000020
    )
    headers = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0" + coff
    headers += optional.ljust(0xF0, b"\0") + section
    return headers.ljust(SECTOR, b"\0") + HALT.ljust(SECTOR, b"\0")
