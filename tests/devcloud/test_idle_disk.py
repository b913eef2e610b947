# SPDX-License-Identifier: Apache-2.0

"""idle_disk: a disk that boots and then asks nothing more of its processor."""

import struct

from devcloud import idle_disk


def test_the_boot_sector_halts_a_bios_guest() -> None:
    sector = idle_disk.disk()[: idle_disk.SECTOR]
    assert sector[510:] == b"\x55\xaa"
    jump = 2 + sector[1]
    assert sector[jump : jump + len(idle_disk.HALT)] == idle_disk.HALT


def test_the_file_system_has_the_program_that_uefi_boots() -> None:
    disk = idle_disk.disk()
    per_sector, per_cluster, reserved, fats, entries = struct.unpack_from(
        "<HBHBH", disk, 11
    )
    (fat_sectors,) = struct.unpack_from("<H", disk, 22)
    root = (reserved + fats * fat_sectors) * per_sector
    data = root + entries * 32

    def cluster(number: int) -> int:
        return data + (number - 2) * per_cluster * per_sector

    def find(directory: int, name: bytes) -> tuple[int, int]:
        start = disk.index(name, directory)
        return struct.unpack_from("<HI", disk, start + 26)

    folder, _ = find(root, b"EFI        ")
    boot, _ = find(cluster(folder), b"BOOT       ")
    program, size = find(cluster(boot), b"BOOTX64 EFI")
    text = disk[cluster(program) : cluster(program) + size]
    assert text == idle_disk.program()


def test_the_program_starts_with_the_halt() -> None:
    program = idle_disk.program()
    (header,) = struct.unpack_from("<I", program, 0x3C)
    assert program[header : header + 4] == b"PE\0\0"
    optional = header + 24
    (entry,) = struct.unpack_from("<I", program, optional + 16)
    (subsystem,) = struct.unpack_from("<H", program, optional + 68)
    assert subsystem == 10
    section = optional + 0xF0
    _, address, _, offset = struct.unpack_from("<IIII", program, section + 8)
    start = offset + entry - address
    assert program[start : start + len(idle_disk.HALT)] == idle_disk.HALT
