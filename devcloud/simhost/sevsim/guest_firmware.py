# SPDX-License-Identifier: Apache-2.0

"""The table at the end of a guest firmware, as QEMU looks for it.

See pc_system_parse_ovmf_flash and build_kernel_loader_hashes of QEMU.
"""

from __future__ import annotations

import uuid

_TABLE = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
_HASHES = uuid.UUID("7255371f-3a3b-4b04-927b-1da6efa8d454").bytes_le
_BEHIND_TABLE = 32
_TAIL = 18  # the length and the GUID of an entry
_HASHES_BYTES = 176


def hashes_obstacle(firmware: bytes) -> str:
    """What QEMU says where the hashes of a kernel have no place; empty if they have."""
    entry = _entries(firmware).get(_HASHES)
    if entry is None:
        return "kernel specified but guest firmware has no hashes table GUID"
    base, size = (int.from_bytes(entry[at : at + 4], "little") for at in (0, 4))
    if not base or size < _HASHES_BYTES:
        return (
            f"guest firmware hashes table area is invalid (base={base:#x} "
            f"size={size:#x})"
        )
    return ""


def _entries(data: bytes) -> dict[bytes, bytes]:
    end = len(data) - _BEHIND_TABLE
    if end < _TAIL or data[end - 16 : end] != _TABLE:
        return {}
    found: dict[bytes, bytes] = {}
    start = end - int.from_bytes(data[end - _TAIL : end - 16], "little")
    end -= _TAIL
    while end - start >= _TAIL:
        length = int.from_bytes(data[end - _TAIL : end - 16], "little")
        if length < _TAIL or length > end - start:
            break
        found.setdefault(data[end - 16 : end], data[end - length : end - _TAIL])
        end -= length
    return found
