# SPDX-License-Identifier: Apache-2.0
"""Files that end as OVMF does, for tests: with the tables that QEMU reads."""

import struct
import uuid

TABLE = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
HASH_TABLE = uuid.UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
METADATA = uuid.UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
ES_RESET = uuid.UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")

#: The sections of OvmfPkgX64 (base, bytes, kind), and the one that AmdSevX64 adds.
SECTIONS = (
    (0x800000, 0x9000, 1),
    (0x80A000, 0x3000, 1),
    (0x80D000, 0x1000, 2),
    (0x80E000, 0x1000, 3),
    (0x810000, 0x10000, 1),
)
KERNEL_HASHES = (0x80F000, 0x1000, 0x10)
HASHES_AT = (0x80FC00, 0x400)


def entry(guid: uuid.UUID, data: bytes) -> bytes:
    return data + struct.pack("<H", len(data) + 18) + guid.bytes_le


def metadata(*sections: tuple[int, int, int]) -> bytes:
    body = b"".join(struct.pack("<III", *each) for each in sections)
    return struct.pack("<4sIII", b"ASEV", 16 + len(body), 1, len(sections)) + body


def table(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return body + struct.pack("<H", len(body) + 18) + TABLE.bytes_le


def ovmf(
    *sections: tuple[int, int, int],
    hashes_at: tuple[int, int] | None = (0, 0),
    size: int = 64 * 1024,
) -> bytes:
    """Return a firmware of ``size`` bytes.

    :param sections: of its SEV metadata; without any it has none.
    :param hashes_at: what its hash table's entry says; None: it has no entry.
    """
    entries = []
    if hashes_at is not None:
        entries.append(entry(HASH_TABLE, struct.pack("<II", *hashes_at)))
    offset = 1024
    if sections:
        entries.append(entry(METADATA, struct.pack("<I", offset)))
    entries.append(entry(ES_RESET, struct.pack("<I", 0x80B004)))
    end = table(*entries) + b"\xf4" * 32
    data = bytearray(size - len(end)) + end
    if sections:
        found = metadata(*sections)
        data[size - offset : size - offset + len(found)] = found
    return bytes(data)


def debian() -> bytes:
    """A firmware for SEV-SNP that has no place for a kernel's hashes."""
    return ovmf(*SECTIONS)


def amdsev() -> bytes:
    """A firmware that measures a kernel, as edk2's AmdSevX64 does."""
    return ovmf(*SECTIONS, KERNEL_HASHES, hashes_at=HASHES_AT)
