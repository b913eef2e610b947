# SPDX-License-Identifier: Apache-2.0
"""archive: what is packed is unpacked, and nothing else is taken."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.doctor.host import archive
from sev_driver.doctor.host.archive import (
    Archive,
    Failure,
    MalformedArchive,
    NotInArchive,
    Recording,
)
from sev_driver.exceptions import DetectionError
from sev_driver.host.files import LOCAL

#: JSON has no halves of a pair of UTF-16.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ANSWERS = st.dictionaries(
    TEXTS,
    st.binary(max_size=200)
    | st.builds(Failure, TEXTS, st.none() | st.integers(0, 133)),
    max_size=8,
)
SAVED = Archive("2026-01-01", "1.0", {"files/proc/a": b"text" * 40, "b": Failure("x")})


@given(answers=ANSWERS)
def test_what_is_packed_is_unpacked(answers: dict[str, bytes | Failure]) -> None:
    saved = Archive("2026-01-01T00:00:00+00:00", "1.0", answers, "host")
    assert archive.unpack(archive.pack(saved)) == saved


@given(data=st.binary(max_size=400))
def test_any_bytes_are_an_archive_or_our_own_error(data: bytes) -> None:
    with pytest.raises(MalformedArchive):
        archive.unpack(data)


@given(data=st.binary(max_size=3000))
def test_any_text_is_an_archive_or_our_own_error(data: bytes) -> None:
    with pytest.raises(MalformedArchive):
        archive.unpack(gzip.compress(data))


@given(cut=st.integers(0, 10_000), flip=st.integers(0, 255), at=st.integers(0, 10_000))
def test_a_damaged_archive_is_read_or_refused(cut: int, flip: int, at: int) -> None:
    plain = bytearray(gzip.decompress(archive.pack(SAVED)))
    plain[at % len(plain)] ^= flip
    for damaged in (plain[: cut % len(plain)], plain):
        try:
            archive.unpack(gzip.compress(bytes(damaged)))
        except MalformedArchive as error:
            assert "\n" not in str(error)


def packed(text: bytes | None = None, **changes: object) -> bytes:
    document = {"format": 2, "date": "", "version": "", "host": "", "answers": {}}
    data = json.dumps(document | changes).encode() if text is None else text
    # The name of a test has these bytes, and must not change with the time.
    return gzip.compress(data, mtime=0)


NOT_OURS = "not what sev-doctor --save writes"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed(format=3), "has format 3, and this sev-doctor reads 2"),
        (packed(b"{}"), NOT_OURS),
        (packed(b"7"), NOT_OURS),
        (packed(b"[" * 100_000), NOT_OURS),
        (packed(b'{"format": ' + b"1" * 100_000 + b"}"), NOT_OURS),
        (packed(b"manifest.json\0\0\0"), NOT_OURS),
        (packed(answers=[]), NOT_OURS),
        (packed(answers={"a": 1}), NOT_OURS),
        (packed(answers={"a": [1, ""]}), NOT_OURS),
        (packed(answers={"a": {"error": "x"}}), NOT_OURS),
        (packed(answers={"a": {"error": "x", "errno": "y"}}), NOT_OURS),
        (packed(answers={"a": {"base64": "="}}), NOT_OURS),
        (packed(answers={"a": "\ud800"}), NOT_OURS),
        (packed(answers={str(n): "" for n in range(8193)}), "more than 8192 answers"),
        (gzip.compress(bytes(archive._UNPACKED_BYTES + 1), mtime=0), "unpacks to more"),
        (bytes(archive.PACKED_BYTES + 1), "larger than any"),
        (archive.pack(SAVED)[:-20], "not a whole one"),
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(MalformedArchive, match=words):
        archive.unpack(data)


def test_hostile_name_is_a_name_and_no_path() -> None:
    found = archive.unpack(packed(answers={"../../etc/passwd": "x"}))
    assert found.answers == {"../../etc/passwd": b"x"}


def never() -> bytes:
    raise AssertionError("an archive reads nothing here")


def test_an_archive_answers_as_the_host_did() -> None:
    answers = {"a": b"1", "gone": Failure("No such file", 2), "odd": Failure("broken")}
    saved = archive.unpack(archive.pack(Archive("", "", answers)))
    assert saved.read("a", never) == b"1"
    with pytest.raises(FileNotFoundError):
        saved.read("gone", never)
    with pytest.raises(DetectionError, match="broken"):
        saved.read("odd", never)
    with pytest.raises(NotInArchive):
        saved.read("other", never)


def test_a_recording_reads_once_and_keeps_errors() -> None:
    asked = []

    def answer() -> bytes:
        asked.append(1)
        return b"1"

    def fail() -> bytes:
        raise PermissionError(13, "Permission denied")

    recording = Recording(LOCAL)
    assert [recording.read("a", answer) for _ in range(2)] == [b"1", b"1"]
    assert len(asked) == 1
    for _ in range(2):
        with pytest.raises(PermissionError, match="Permission denied"):
            recording.read("b", fail)
    assert recording.answers["b"] == Failure("Permission denied", 13)
