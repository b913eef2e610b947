# SPDX-License-Identifier: Apache-2.0

"""A disk whose guest halts its processor as soon as it has booted.

An empty disk leaves a guest in the firmware's shell, where it polls for a key and
keeps half a core busy under emulation. This one boots by BIOS and by UEFI into the
same three instructions, and a test that starts many guests waits for none of them.

Layout: a FAT16 file system on the bare disk (Microsoft's FAT specification, 1.03),
with one program at the path that UEFI boots from removable media (UEFI 2.10, 3.5.1.1).
"""

import struct
import subprocess
import tempfile
from pathlib import Path

SECTOR = 512
SIZE = 16 << 20
#: cli, hlt, jump back to hlt: nothing but a reset ends it.
HALT = b"\xfa\xf4\xeb\xfd"

_RESERVED_SECTORS = 1
# Two, as on any disk: Nova takes a file system with one for a broken partition table.
_FATS = 2
_FAT_SECTORS = 32
_ROOT_ENTRIES = 512
_SECTORS_PER_CLUSTER = 4
_DIRECTORY = 0x10
_FILE = 0x20
_END_OF_CHAIN = 0xFFFF


def write(path: Path) -> None:
    """Write the disk to ``path``, in qcow2."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".raw") as raw:
        raw.write(disk())
        raw.truncate(SIZE)
        raw.flush()
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"]
        subprocess.run([*command, raw.name, str(path)], check=True)


def disk() -> bytes:
    """Return the disk as far as it is not zero."""
    # Clusters 2, 3 and 4: EFI, EFI/BOOT and the program, one cluster each.
    fat = struct.pack("<5H", 0xFFF8, *[_END_OF_CHAIN] * 4)
    clusters = (
        _entry(b".          ", _DIRECTORY, 2)
        + _entry(b"..         ", _DIRECTORY, 0)
        + _entry(b"BOOT       ", _DIRECTORY, 3),
        _entry(b".          ", _DIRECTORY, 3)
        + _entry(b"..         ", _DIRECTORY, 2)
        + _entry(b"BOOTX64 EFI", _FILE, 4, len(program())),
        program(),
    )
    return b"".join(
        (
            _boot_sector(),
            fat.ljust(_FAT_SECTORS * SECTOR, b"\0") * _FATS,
            _entry(b"EFI        ", _DIRECTORY, 2).ljust(_ROOT_ENTRIES * 32, b"\0"),
            *(c.ljust(_SECTORS_PER_CLUSTER * SECTOR, b"\0") for c in clusters),
        )
    )


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


def _boot_sector() -> bytes:
    parameters = struct.pack(
        "<3s8sHBHBHHBHHHII",
        b"\xeb\x3c\x90",
        b"devcloud",
        SECTOR,
        _SECTORS_PER_CLUSTER,
        _RESERVED_SECTORS,
        _FATS,
        _ROOT_ENTRIES,
        SIZE // SECTOR,
        0xF8,
        _FAT_SECTORS,
        32,
        2,
        0,
        0,
    )
    extended = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 1, b"IDLE       ", b"FAT16   ")
    sector = (parameters + extended).ljust(0x3E, b"\0") + HALT
    return sector.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def _entry(name: bytes, attributes: int, cluster: int, size: int = 0) -> bytes:
    return struct.pack("<11sB14xHI", name, attributes, cluster, size)
