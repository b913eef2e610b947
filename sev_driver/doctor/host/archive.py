# SPDX-License-Identifier: Apache-2.0

"""All that was read on a host, as one file: written there, judged elsewhere.

It is JSON, compressed by gzip: date, version, host, and under ``answers`` each thing
that was read, by name. An answer is text; ``{"base64": ...}`` where it is no UTF-8; or
``{"error": ..., "errno": ...}`` where it could not be read.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from sev_driver.doctor.host.evidence import NOT_IN_ARCHIVE
from sev_driver.exceptions import DetectionError, SevDriverError
from sev_driver.host.files import Source

#: Of the archive's form; another one is refused.
FORMAT = 2

#: Far above what a host has: some hundred answers, a few hundred KiB.
PACKED_BYTES = 4 * 1024 * 1024
_UNPACKED_BYTES = 8 * 1024 * 1024
_ANSWERS = 8192

#: A list where a dictionary should be, a text that is no UTF-8, and the like.
_MISFITS = (AttributeError, LookupError, TypeError, ValueError, RecursionError)


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

    ``date`` is when, in UTC; ``version`` that of the sev_driver that read; ``host``
    the host's name.
    """

    date: str
    version: str
    answers: Mapping[str, bytes | Failure]
    host: str = ""

    def read(self, what: str, read: Callable[[], bytes]) -> bytes:
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

    def read(self, what: str, read: Callable[[], bytes]) -> bytes:
        if what not in self.answers:
            try:
                self.answers[what] = self._of.read(what, read)
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
    """Return the archive as a file's bytes: the same for the same content."""
    document = {
        "format": FORMAT,
        "date": archive.date,
        "version": archive.version,
        "host": archive.host,
        "answers": {name: _encoded(each) for name, each in archive.answers.items()},
    }
    text = json.dumps(document, indent=1, sort_keys=True)
    return gzip.compress(text.encode(), mtime=0)


def _encoded(answer: bytes | Failure) -> object:
    if isinstance(answer, Failure):
        return {"error": answer.text, "errno": answer.errno}
    try:
        return answer.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(answer).decode()}


def unpack(data: bytes) -> Archive:
    """Read an archive.

    :raises MalformedArchive: it is not what :func:`pack` writes.
    """
    if len(data) > PACKED_BYTES:
        raise MalformedArchive("it is larger than any archive of sev-doctor")
    text = _inflated(data)
    try:
        document = json.loads(text)
        found = document["format"]
        if found != FORMAT:
            raise MalformedArchive(
                f"it has format {str(found)[:20]}, and this sev-doctor reads {FORMAT}"
            )
        if len(document["answers"]) > _ANSWERS:
            raise MalformedArchive(f"it has more than {_ANSWERS} answers")
        answers = {name: _decoded(each) for name, each in document["answers"].items()}
        date, version, host = (str(document[k]) for k in ("date", "version", "host"))
    except _MISFITS as error:
        raise MalformedArchive("it is not what sev-doctor --save writes") from error
    return Archive(date[:40], version[:40], answers, host[:255])


def _inflated(data: bytes) -> bytes:
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(data)).read(_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise MalformedArchive("it is no gzip file, or not a whole one") from error
    if len(plain) > _UNPACKED_BYTES:
        raise MalformedArchive("it unpacks to more than any archive of sev-doctor")
    return plain


def _decoded(answer: Any) -> bytes | Failure:
    if isinstance(answer, str):
        return answer.encode()
    if "base64" in answer:
        return base64.b64decode(answer["base64"], validate=True)
    errno = answer["errno"]
    if errno is not None and type(errno) is not int:
        raise TypeError("an errno is a number")
    return Failure(str(answer["error"]), errno)
