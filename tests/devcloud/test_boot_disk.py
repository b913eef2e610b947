# SPDX-License-Identifier: Apache-2.0

"""boot_disk: a file system with the program that UEFI boots."""

import struct
import subprocess
from pathlib import Path

import pytest

from devcloud import boot_disk

MIB = 1 << 20


def read_program(disk: bytes) -> bytes:
    """EFI/BOOT/BOOTX64.EFI, by the file system's own chains of clusters."""
    per_sector, per_cluster, reserved, fats, entries = struct.unpack_from(
        "<HBHBH", disk, 11
    )
    (fat_sectors,) = struct.unpack_from("<H", disk, 22)
    fat = reserved * per_sector
    root = (reserved + fats * fat_sectors) * per_sector
    data = root + entries * 32

    def cluster(number: int) -> int:
        return data + (number - 2) * per_cluster * per_sector

    def find(directory: int, name: bytes) -> tuple[int, int]:
        start = disk.index(name, directory)
        return struct.unpack_from("<HI", disk, start + 26)

    folder, _ = find(root, b"EFI        ")
    boot, _ = find(cluster(folder), b"BOOT       ")
    number, size = find(cluster(boot), b"BOOTX64 EFI")
    parts = []
    while number < 0xFFF8:
        start = cluster(number)
        parts.append(disk[start : start + per_cluster * per_sector])
        (number,) = struct.unpack_from("<H", disk, fat + 2 * number)
    return b"".join(parts)[:size]


@pytest.mark.parametrize("length", [1, 2048, 2049, 15 * MIB + 1])
@pytest.mark.parametrize("size", [16 * MIB, 32 * MIB])
def test_the_program_is_found_whole(length: int, size: int) -> None:
    program = bytes(range(251)) * (length // 251 + 1)

    disk = boot_disk.content(program[:length], size)

    assert read_program(disk) == program[:length]
    assert len(disk) <= size


@pytest.mark.parametrize("size", [16 * MIB, 32 * MIB])
def test_the_size_of_the_disk_is_in_its_first_sector(size: int) -> None:
    disk = boot_disk.content(b"x", size)
    (small,), (large,) = (
        struct.unpack_from("<H", disk, 19),
        struct.unpack_from("<I", disk, 32),
    )

    assert (small or large) * boot_disk.SECTOR == size
    assert not (small and large)


def test_it_is_written_as_qcow2(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"

    boot_disk.write(path, b"program", 16 * MIB)

    raw = tmp_path / "disk.raw"
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw"]
    subprocess.run([*command, path, raw], check=True)
    assert raw.stat().st_size == 16 * MIB
    assert read_program(raw.read_bytes()) == b"program"
