# SPDX-License-Identifier: Apache-2.0

"""A disk with one program that UEFI boots, made without root.

Layout: a FAT16 file system on the bare disk (Microsoft's FAT specification, 1.03),
with the program at the path that UEFI boots from removable media (UEFI 2.10, 3.5.1.1).
"""

import struct
import subprocess
import tempfile
from pathlib import Path

SECTOR = 512

_RESERVED_SECTORS = 1
# Two, as on any disk: Nova takes a file system with one for a broken partition table.
_FATS = 2
_ROOT_ENTRIES = 512
_SECTORS_PER_CLUSTER = 4
_CLUSTER = _SECTORS_PER_CLUSTER * SECTOR
#: One entry of a FAT has 16 bits.
_ENTRIES_PER_SECTOR = SECTOR // 2
#: EFI, EFI/BOOT and the program: the first cluster has the number 2.
_EFI, _BOOT, _PROGRAM = 2, 3, 4
_DIRECTORY = 0x10
_FILE = 0x20
_END_OF_CHAIN = 0xFFFF


def write(path: Path, program: bytes, size: int, boot_code: bytes = b"") -> None:
    """Write the disk to ``path``, in qcow2.

    :param program: a PE32+ image
    :param size: of the disk, in bytes; 8 to 128 MiB, which FAT16 is for
    :param boot_code: what a BIOS runs
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".raw") as raw:
        raw.write(content(program, size, boot_code))
        raw.truncate(size)
        raw.flush()
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"]
        subprocess.run([*command, raw.name, str(path)], check=True)


def content(program: bytes, size: int, boot_code: bytes = b"") -> bytes:
    """Return the disk as far as it is not zero; see ``write``."""
    fat_sectors = -(-size // _CLUSTER // _ENTRIES_PER_SECTOR)
    count = -(-len(program) // _CLUSTER)
    chain = [*range(_PROGRAM + 1, _PROGRAM + count), _END_OF_CHAIN]
    entries = (0xFFF8, *[_END_OF_CHAIN] * 3, *chain)
    fat = struct.pack(f"<{len(entries)}H", *entries)
    clusters = (
        _entry(b".          ", _DIRECTORY, _EFI)
        + _entry(b"..         ", _DIRECTORY, 0)
        + _entry(b"BOOT       ", _DIRECTORY, _BOOT),
        _entry(b".          ", _DIRECTORY, _BOOT)
        + _entry(b"..         ", _DIRECTORY, _EFI)
        + _entry(b"BOOTX64 EFI", _FILE, _PROGRAM, len(program)),
        program,
    )
    return b"".join(
        (
            _boot_sector(size, fat_sectors, boot_code),
            fat.ljust(fat_sectors * SECTOR, b"\0") * _FATS,
            _entry(b"EFI        ", _DIRECTORY, _EFI).ljust(_ROOT_ENTRIES * 32, b"\0"),
            *(_padded(cluster) for cluster in clusters),
        )
    )


def _boot_sector(size: int, fat_sectors: int, boot_code: bytes) -> bytes:
    parameters = struct.pack(
        "<3s8sHBHBHHBHHHII",
        b"\xeb\x3c\x90",
        b"devcloud",
        SECTOR,
        _SECTORS_PER_CLUSTER,
        _RESERVED_SECTORS,
        _FATS,
        _ROOT_ENTRIES,
        *_sector_counts(size // SECTOR, fat_sectors),
    )
    extended = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 1, b"DEVCLOUD   ", b"FAT16   ")
    sector = (parameters + extended).ljust(0x3E, b"\0") + boot_code
    return sector.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def _sector_counts(sectors: int, fat_sectors: int) -> tuple[int, ...]:
    """Return BPB_TotSec16 to BPB_TotSec32; the count is in one of these two."""
    small = sectors < 1 << 16
    geometry = (0xF8, fat_sectors, 32, 2, 0)
    return (sectors if small else 0, *geometry, 0 if small else sectors)


def _entry(name: bytes, attributes: int, cluster: int, size: int = 0) -> bytes:
    return struct.pack("<11sB14xHI", name, attributes, cluster, size)


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // _CLUSTER) * _CLUSTER, b"\0")
