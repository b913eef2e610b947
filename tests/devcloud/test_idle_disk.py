# SPDX-License-Identifier: Apache-2.0

"""idle_disk: a disk that boots and then asks nothing more of its processor."""

import struct

from devcloud import boot_disk, idle_disk


def test_the_boot_sector_halts_a_bios_guest() -> None:
    disk = boot_disk.content(idle_disk.program(), idle_disk.SIZE, idle_disk.HALT)
    sector = disk[: boot_disk.SECTOR]
    assert sector[510:] == b"\x55\xaa"
    jump = 2 + sector[1]
    assert sector[jump : jump + len(idle_disk.HALT)] == idle_disk.HALT


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
