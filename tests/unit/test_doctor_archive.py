#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
"""archive: what is packed is unpacked, and nothing else is taken."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.doctor import archive
from sev_driver.doctor.archive import (
    Archive,
    Failure,
    MalformedArchive,
    NotInArchive,
    Recording,
)
from sev_driver.exceptions import DetectionError
from sev_driver.files import HERE

NAMES = st.text(min_size=1, max_size=40).filter(
    lambda name: name != archive.MANIFEST and "\0" not in name and name.strip("/")
)
ANSWERS = st.dictionaries(
    NAMES.map(lambda name: "files/" + name.strip("/")),
    st.binary(max_size=200)
    | st.builds(Failure, st.text(max_size=20), st.none() | st.integers(0, 133)),
    max_size=8,
)
SAVED = Archive("2026-01-01", "1.0", {"files/proc/a": b"text" * 40, "b": Failure("x")})


@given(answers=ANSWERS)
def test_what_is_packed_is_unpacked(answers: dict[str, bytes | Failure]) -> None:
    saved = Archive("2026-01-01T00:00:00+00:00", "1.0", answers)
    assert archive.unpack(archive.pack(saved)) == saved


@given(data=st.binary(max_size=400))
def test_any_bytes_are_an_archive_or_our_own_error(data: bytes) -> None:
    with pytest.raises(MalformedArchive):
        archive.unpack(data)


@given(data=st.binary(max_size=3000))
def test_any_tar_is_an_archive_or_our_own_error(data: bytes) -> None:
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


def tar(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            info.linkname = "/etc/shadow"
            file.addfile(info, io.BytesIO(data))
    return gzip.compress(plain.getvalue())


MANIFEST = {"format": 1, "date": "", "version": "", "failures": {}}


def manifest(**changes: object) -> tuple[str, bytes]:
    return archive.MANIFEST, json.dumps(MANIFEST | changes).encode()


def bomb() -> bytes:
    return gzip.compress(bytes(archive._UNPACKED_BYTES + 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tar(("a", b"")), "manifest.json is missing or wrong"),
        (lambda: tar(manifest(format=2)), "has format 2, and this sev-doctor reads 1"),
        (lambda: tar(manifest(failures=[])), "missing or wrong"),
        (lambda: tar(manifest(failures={"a": [1]})), "missing or wrong"),
        (lambda: tar(manifest(failures={"a": ["x", "y"]})), "missing or wrong"),
        (lambda: tar((archive.MANIFEST, b"[" * 100_000)), "missing or wrong"),
        (lambda: tar(manifest(), ("a", b""), ("a", b"")), "a file twice"),
        (lambda: tar(("a", b""), kind=tarfile.SYMTYPE), "'a' is not a plain file"),
        (lambda: tar(("a", b""), kind=tarfile.LNKTYPE), "'a' is not a plain file"),
        (lambda: tar(("a", b""), kind=tarfile.CHRTYPE), "'a' is not a plain file"),
        (lambda: tar(*((str(n), b"") for n in range(8200))), "too many"),
        (bomb, "unpacks to more"),
        (lambda: bytes(archive.PACKED_BYTES + 1), "larger than any"),
        (lambda: archive.pack(SAVED)[:-20], "not a whole one"),
    ],
)
def test_what_is_refused(make: Callable[[], bytes], words: str) -> None:
    with pytest.raises(MalformedArchive, match=words):
        archive.unpack(make())


def test_a_hostile_name_is_a_name_and_no_path() -> None:
    found = archive.unpack(tar(manifest(), ("../../etc/passwd", b"x")))
    assert found.answers == {"../../etc/passwd": b"x"}


def never() -> bytes:
    raise AssertionError("an archive reads nothing here")


def test_an_archive_answers_as_the_host_did() -> None:
    answers = {"a": b"1", "gone": Failure("No such file", 2), "odd": Failure("broken")}
    saved = archive.unpack(archive.pack(Archive("", "", answers)))
    assert saved.ask("a", never) == b"1"
    with pytest.raises(FileNotFoundError):
        saved.ask("gone", never)
    with pytest.raises(DetectionError, match="broken"):
        saved.ask("odd", never)
    with pytest.raises(NotInArchive):
        saved.ask("other", never)


def test_a_recording_reads_once_and_keeps_errors() -> None:
    asked = []

    def answer() -> bytes:
        asked.append(1)
        return b"1"

    def fail() -> bytes:
        raise PermissionError(13, "Permission denied")

    recording = Recording(HERE)
    assert [recording.ask("a", answer) for _ in range(2)] == [b"1", b"1"]
    assert len(asked) == 1
    for _ in range(2):
        with pytest.raises(PermissionError, match="Permission denied"):
            recording.ask("b", fail)
    assert recording.answers["b"] == Failure("Permission denied", 13)
