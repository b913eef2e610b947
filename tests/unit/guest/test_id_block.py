# SPDX-License-Identifier: Apache-2.0
"""id_block: what the secure processor would refuse is found before it is asked."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import owners_keys
import pytest
from hypothesis import given
from hypothesis import strategies as st
from owners_keys import AUTHOR_KEY, DIGEST, ID_KEY, Key, sign

from sev_driver import measurement
from sev_driver.guest import id_block
from sev_driver.guest.id_block import IdBlock


def faults(block: bytes, auth: bytes) -> list[str]:
    return [f"{each.has}, but {each.rule}" for each in id_block.check(block, auth)]


def changed(data: bytes, at: int, byte: int) -> bytes:
    return data[:at] + bytes([byte]) + data[at + 1 :]


def test_id_block() -> None:
    block, auth = sign(svn=7, policy=0xB0000)
    found = IdBlock.parse(block)
    assert (found.version, found.guest_svn, found.policy) == (1, 7, 0xB0000)
    assert found.digest == DIGEST and found.data == block
    assert faults(block, auth) == []
    assert not id_block.has_author_key(auth)


def test_id_block_with_an_author_key() -> None:
    block, auth = sign(author=AUTHOR_KEY)
    assert faults(block, auth) == []
    assert id_block.has_author_key(auth)


@pytest.mark.skipif(not measurement.is_available(), reason="no sev-snp-measure")
@pytest.mark.parametrize("author", [None, AUTHOR_KEY])
def test_id_block_of_sev_owner(author: Key | None, tmp_path: Path) -> None:
    paths = [owners_keys.write(tmp_path / "id.pem", ID_KEY)]
    if author is not None:
        paths.append(owners_keys.write(tmp_path / "author.pem", author))
    signed = measurement.sign_id_block(DIGEST, 0x30000, *map(str, paths))
    assert faults(signed.block, signed.auth) == []
    assert id_block.has_author_key(signed.auth) == (author is not None)
    # What is signed in these tests is what sev-owner signs, but for the signatures.
    block, auth = sign(author=author)
    assert block == signed.block
    for first, last in ((0, 0x40), (0x240, 0x680), (0x880, 0x1000)):
        assert auth[first:last] == signed.auth[first:last]


@pytest.mark.skipif(not measurement.is_available(), reason="no sev-snp-measure")
def test_id_block_of_the_program_of_others(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("snp-create-id-block")
    command = [sys.executable, program, "--measurement"]
    command.append(base64.b64encode(bytes.fromhex(DIGEST)).decode())
    command += ["--idkey", owners_keys.write(tmp_path / "id.pem", ID_KEY)]
    command += ["--authorkey", owners_keys.write(tmp_path / "a.pem", AUTHOR_KEY)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = said.replace("id-block=", "").replace("id-auth=", "").partition("\n")[0]
    block, auth = map(base64.b64decode, words.split(","))
    assert faults(block, auth) == []


WRONG_BLOCK = "has a wrong signature of the ID block, but the ID key denies it"
WRONG_KEY = "has a wrong signature of the ID key, but the author key denies it"


@pytest.mark.parametrize(
    ("at", "byte", "expected"),
    [
        (0x00, 2, ["has algorithm 2 of the ID key, but AMD SEV-SNP takes 1, ECDSA"]),
        (0x04, 0, ["has algorithm 0 of the author key, but AMD SEV-SNP takes 1, ECD"]),
        (0x08, 1, ["has reserved bits, but AMD SEV-SNP takes none"]),
        (0x40, 0, [WRONG_BLOCK]),
        (0x200, 1, ["has reserved bits"]),
        (0x240, 3, ["has a wrong ID key, but it is no point on P-384", WRONG_KEY]),
        (0x244, 0, ["has a wrong ID key, but it is no point on P-384", WRONG_KEY]),
        (0x640, 1, ["has reserved bits", WRONG_KEY]),
        (0x650, 1, ["has reserved bits"]),
        (0x680, 0, [WRONG_KEY]),
        (0x880, 1, ["has a wrong author key, but it is no point on P-384"]),
        (0x8D0, 0, ["has a wrong author key, but it is no point on P-384"]),
        (0xC90, 1, ["has reserved bits"]),
    ],
)
def test_wrong_authentication_information(
    at: int, byte: int, expected: list[str]
) -> None:
    block, auth = sign(author=AUTHOR_KEY)
    assert auth[at] != byte
    found = faults(block, changed(auth, at, byte))
    assert len(found) == len(expected)
    assert all(a.startswith(b) for a, b in zip(found, expected, strict=True))


def test_signature_of_an_author_without_a_key() -> None:
    block, auth = sign()
    found = faults(block, changed(auth, 0x680, 1))
    assert found == ["has a signature of the ID key, but it has no author key"]


def test_keys_of_zeros_are_no_points() -> None:
    block, auth = sign()
    zeros = auth[:0x244] + bytes(144) + auth[0x2D4:]
    assert faults(block, zeros) == ["has a wrong ID key, but it is no point on P-384"]


@pytest.mark.parametrize("at", [0, 47, 48, 84, 88])
def test_id_block_that_was_changed(at: int) -> None:
    block, auth = sign()
    assert faults(changed(block, at, 0xAA), auth) == [WRONG_BLOCK]


def test_version() -> None:
    block, auth = sign(version=2)
    assert faults(block, auth) == ["has version 2, but AMD SEV-SNP takes version 1"]


@given(st.binary(min_size=96, max_size=96), st.binary(max_size=4096))
def test_any_bytes_are_checked(block: bytes, auth: bytes) -> None:
    assert faults(block, auth.ljust(4096, b"\0")) != []


@given(st.integers(0, 4095), st.integers(1, 255))
def test_no_byte_of_it_can_be_changed(at: int, change: int) -> None:
    """Each is of a key, of a signature or reserved."""
    block, auth = SIGNED
    assert faults(block, changed(auth, at, auth[at] ^ change)) != []


SIGNED = sign(author=AUTHOR_KEY)
