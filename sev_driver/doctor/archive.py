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
"""All that was read of a host, as one archive: written there, read elsewhere.

It is a tar.gz of one member for each thing that was read, as it was read, and of
``manifest.json``. Nothing of it is ever unpacked into a folder.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

from sev_driver.doctor.evidence import NOT_IN_ARCHIVE
from sev_driver.exceptions import DetectionError, SevDriverError
from sev_driver.source import Source

#: Of the archive's form; another one is refused.
FORMAT = 1
MANIFEST = "manifest.json"

#: Far above what a host has: some hundred members, a few hundred KiB.
PACKED_BYTES = 16 * 1024 * 1024
_UNPACKED_BYTES = 64 * 1024 * 1024
_MEMBERS = 8192

#: Of tar: the size of a block, the kinds of header that tell of the next one, and
#: how long what one tells can be.
_BLOCK = 512
_NAME = 4096
_EXTENDED = (b"x", b"g", b"X", b"L", b"K")


class MalformedArchive(SevDriverError):
    """A file is not what ``--save`` writes."""


class NotInArchive(DetectionError, OSError):
    """It was not read when the archive was written, and so is not known.

    It is of both kinds, since those who ask expect the one or the other, and what
    is in an archive anybody may have written.
    """


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why something could not be read; ``errno`` is None where no OSError said so."""

    text: str
    errno: int | None = None

    def error(self) -> Exception:
        if self.errno is None:
            return NotInArchive(self.text)
        return OSError(self.errno, self.text)


@dataclasses.dataclass(frozen=True)
class Archive:
    """What was read, or why it was not, by name; a :class:`Source` of it.

    ``date`` is when, in UTC, and ``version`` that of the sev_driver that read.
    """

    date: str
    version: str
    answers: Mapping[str, bytes | Failure]

    def ask(self, what: str, read: Callable[[], bytes]) -> bytes:
        answer = self.answers.get(what)
        if answer is None:
            raise NotInArchive(f"{what} {NOT_IN_ARCHIVE}")
        if isinstance(answer, Failure):
            raise answer.error()
        return answer


class Recording:
    """A source that keeps what was read of another, and reads nothing twice."""

    def __init__(self, of: Source) -> None:
        self._of = of
        self.answers: dict[str, bytes | Failure] = {}

    def ask(self, what: str, read: Callable[[], bytes]) -> bytes:
        if what not in self.answers:
            try:
                self.answers[what] = self._of.ask(what, read)
            except OSError as error:
                text = error.strerror or str(error)
                self.answers[what] = Failure(text, error.errno or 0)
            except DetectionError as error:
                self.answers[what] = Failure(str(error))
        answer = self.answers[what]
        if isinstance(answer, Failure):
            raise answer.error()
        return answer


def pack(archive: Archive) -> bytes:
    """Return the archive as a tar.gz: the same bytes for the same content."""
    failures = {
        name: [answer.errno, answer.text]
        for name, answer in archive.answers.items()
        if isinstance(answer, Failure)
    }
    manifest = {
        "format": FORMAT,
        "date": archive.date,
        "version": archive.version,
        "failures": failures,
    }
    members = {MANIFEST: json.dumps(manifest, indent=1, sort_keys=True).encode()}
    for name, answer in sorted(archive.answers.items()):
        if not isinstance(answer, Failure):
            members[name] = answer
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0)


def unpack(data: bytes) -> Archive:
    """Read an archive.

    :raises MalformedArchive: it is not what :func:`pack` writes.
    """
    if len(data) > PACKED_BYTES:
        raise MalformedArchive("it is larger than any archive of sev-doctor")
    try:
        members = _members(_inflated(data))
    except MalformedArchive:
        raise
    # tarfile raises much else of what is not a tar.
    except Exception as error:
        raise MalformedArchive("it is no tar.gz, or not a whole one") from error
    return _archive(members)


def _inflated(data: bytes) -> bytes:
    plain = gzip.GzipFile(fileobj=io.BytesIO(data)).read(_UNPACKED_BYTES + 1)
    if len(plain) > _UNPACKED_BYTES:
        raise MalformedArchive("it unpacks to more than any archive of sev-doctor")
    return plain


def _check_headers(plain: bytes) -> None:
    """Refuse a long extended header: it holds a name, which is short.

    Python older than 3.11.10 takes days for one of some million digits.
    """
    for at in range(0, len(plain) - _BLOCK + 1, _BLOCK):
        if plain[at + 156 : at + 157] in _EXTENDED:
            try:
                header = tarfile.TarInfo.frombuf(
                    plain[at : at + _BLOCK], "utf-8", "surrogateescape"
                )
            except tarfile.HeaderError:
                continue  # a block within a file
            if not 0 <= header.size <= _NAME:
                raise MalformedArchive("it has a header of more than a name")


def _members(plain: bytes) -> dict[str, bytes]:
    _check_headers(plain)
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
        for info in tar:
            if not info.isreg() or info.issparse() or info.size > len(plain):
                raise MalformedArchive(f"{info.name[:60]!r} is not a plain file in it")
            if info.name in members or len(members) >= _MEMBERS:
                raise MalformedArchive("it has a file twice, or too many of them")
            file = tar.extractfile(info)
            members[info.name] = file.read() if file else b""
            if len(members[info.name]) != info.size:
                raise MalformedArchive("it ends in the midst of a file")
    return members


def _archive(members: dict[str, bytes]) -> Archive:
    try:
        manifest = json.loads(members.pop(MANIFEST))
        found = manifest["format"]
        if found != FORMAT:
            raise MalformedArchive(
                f"it has format {str(found)[:20]}, and this sev-doctor reads {FORMAT}"
            )
        date, version = str(manifest["date"]), str(manifest["version"])
        failures = {
            str(name): _failure(value) for name, value in manifest["failures"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MalformedArchive(f"its {MANIFEST} is missing or wrong") from error
    return Archive(date[:40], version[:40], {**members, **failures})


def _failure(value: Any) -> Failure:
    errno, text = value
    if errno is not None and type(errno) is not int:
        raise TypeError("an errno is a number")
    return Failure(str(text), errno)
