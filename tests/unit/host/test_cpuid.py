# SPDX-License-Identifier: Apache-2.0
"""cpuid: registers, records, and files that people save."""

import contextlib
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.exceptions import MalformedCpuid
from sev_driver.host import cpuid
from sev_driver.host.cpuid import MemoryEncryptionLeaf

RAW = """\
CPU:
   0x8000001e 0x00: eax=0x00000000 ebx=0x00000100 ecx=0x00000000 edx=0x00000000
   0x8000001f 0x00: eax=0x01679fff ebx=0x00004173 ecx=0x000001fd edx=0x00000064
   0x80000020 0x00: eax=0x00000000 ebx=0x00000002 ecx=0x00000000 edx=0x00000000
"""


def test_registers() -> None:
    leaf = MemoryEncryptionLeaf.from_file(RAW.encode())
    assert leaf == MemoryEncryptionLeaf(0x01679FFF, 0x4173, 0x1FD, 0x64)
    assert (leaf.sev, leaf.sev_es, leaf.sev_snp) == (True, True, True)
    assert (leaf.max_asid, leaf.min_sev_asid) == (509, 100)
    assert (leaf.sev_slots, leaf.shared_slots) == (410, 99)


def test_a_record_is_little_endian() -> None:
    record = struct.pack("<4I", 0x0A, 0, 15, 1)
    for read in (MemoryEncryptionLeaf.from_record, MemoryEncryptionLeaf.from_file):
        leaf = read(record)
        assert (leaf.sev, leaf.sev_es, leaf.sev_snp) == (True, True, False)
        assert (leaf.sev_slots, leaf.shared_slots) == (15, 0)


@pytest.mark.parametrize(
    ("registers", "slots"),
    [
        # Every ASID given to SEV-ES; more than there are; none counted; not there.
        ((0x1A, 0, 509, 510), (0, 509)),
        ((0x1A, 0, 509, 512), (-2, 511)),
        ((0x1A, 0, 0, 0), (None, None)),
        ((0, 0, 0, 0), (None, None)),
        ((0, 0, 509, 100), (None, None)),
    ],
)
def test_bounds(
    registers: tuple[int, int, int, int], slots: tuple[int | None, int | None]
) -> None:
    leaf = MemoryEncryptionLeaf(*registers)
    assert (leaf.sev_slots, leaf.shared_slots) == slots


@pytest.mark.parametrize(
    ("highest", "has"),
    [
        (struct.pack("<4I", 0x8000001F, 1, 2, 3), True),
        (struct.pack("<4I", 0x80000021, 1, 2, 3), True),
        (struct.pack("<4I", 0x80000008, 1, 2, 3), False),
        (b"", False),
    ],
)
def test_an_older_processor_has_no_such_leaf(highest: bytes, has: bool) -> None:
    assert cpuid.has_leaf(highest) is has


@pytest.mark.parametrize("data", [b"", b"x" * 15, RAW[:40].encode(), b"\xff" * 400])
def test_what_is_no_leaf_is_told(data: bytes) -> None:
    with pytest.raises(MalformedCpuid):
        MemoryEncryptionLeaf.from_file(data)


@pytest.mark.parametrize(
    "data", [b"\n" * 2**20, b" " * 2**20, b"0x8000001f eax=0x1" + b"\n" * 2**20]
)
def test_blanks_without_end_take_no_time(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises(MalformedCpuid):
        MemoryEncryptionLeaf.from_file(data)
    assert time.process_time() - start < 2


def test_lines_may_end_as_on_windows() -> None:
    saved = RAW.replace("\n", "\r\n").encode()
    assert MemoryEncryptionLeaf.from_file(saved).max_asid == 509


@given(st.binary(max_size=200), st.text(max_size=100))
def test_any_file_is_a_leaf_or_our_error(data: bytes, text: str) -> None:
    for saved in (data, text.encode("utf-8", "replace"), RAW.encode() + data):
        with contextlib.suppress(MalformedCpuid):
            leaf = MemoryEncryptionLeaf.from_file(saved)
            assert 0 <= leaf.max_asid < 2**32


DECODED = """\
CPU:
   AMD Secure Encryption (0x8000001f):
      SEV: secure encrypted virtualize support = true
      SEV-ES: SEV encrypted state support      = true
      SEV-SNP: SEV secure nested paging        = false
      number of SEV-enabled guests supported   = 0x3ee (1006)
      minimum SEV guest ASID                   = 0xc8 (200)
"""


def test_the_text_of_cpuid_may_be_decoded() -> None:
    leaf = MemoryEncryptionLeaf.from_file(DECODED.encode())
    assert (leaf.sev_slots, leaf.shared_slots) == (807, 199)
    assert (leaf.sev, leaf.sev_es, leaf.sev_snp) == (True, True, False)


def test_half_of_the_text_of_cpuid_is_refused() -> None:
    half = DECODED[: DECODED.index("      minimum")]
    with pytest.raises(MalformedCpuid):
        MemoryEncryptionLeaf.from_file(half.encode())
