# SPDX-License-Identifier: Apache-2.0

"""Read files, directories and modes, of this machine or of an archive."""

from __future__ import annotations

import errno
import functools
import grp
import json
import os
import pwd
import stat
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from sev_driver.exceptions import DetectionError

#: The most that is read of one file.
FILE_BYTES = 1024 * 1024

#: An attribute below /sys is never longer.
_PAGE = 4096

_NULL = os.makedev(1, 3)


class _Local:
    def read(self, what: str, read: Callable[[], bytes]) -> bytes:
        return read()


#: This machine, as it is now.
LOCAL: Source = _Local()


def read(source: Source, path: str, size: int = FILE_BYTES, offset: int = 0) -> bytes:
    """Return at most ``size`` bytes of a file, from ``offset`` on.

    :raises OSError: the file cannot be read.
    """
    what = "files" + path + (f"@{offset:#x}" if offset else "")
    # An archive may hold more than ``size``.
    return source.read(what, lambda: _read(path, size, offset))[:size]


def read_attribute(source: Source, path: str) -> bytes:
    """Return an attribute of the kernel's below /sys, as :func:`read` does.

    No device and no pipe can be there: it is opened at once, in a sixth of the time.

    :raises OSError: the attribute cannot be read.
    """
    return source.read("files" + path, lambda: _read_attribute(path))[:_PAGE]


def _read_attribute(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.read(file, _PAGE)
    finally:
        os.close(file)


def read_device(source: Source, path: str, size: int, offset: int) -> bytes:
    """Read a character device, such as CPUID's, as :func:`read` reads a file.

    :raises OSError: the device cannot be read.
    """
    what = f"files{path}@{offset:#x}"
    return source.read(what, lambda: _read(path, size, offset, _is_device))[:size]


def _is_device(mode: int) -> bool:
    # A simulated host has a regular file instead.
    return stat.S_ISCHR(mode) or stat.S_ISREG(mode)


def read_owned(
    path: str, owners: frozenset[int] | None, size: int = FILE_BYTES
) -> bytes:
    """Return at most ``size`` bytes of a file of this machine, if its owner is trusted.

    :param owners: the uids that may own it besides root; None: any.
    :raises DetectionError: another user owns the file, or anybody may write to it.
    :raises OSError: the file is not a regular one, or cannot be read.
    """
    file = _open(path, stat.S_ISREG)
    try:
        status = os.fstat(file)
        if owners is not None and status.st_uid not in owners | {0}:
            raise DetectionError(
                f"it belongs to {_user(status.st_uid)}, who is neither root nor the "
                "user that nova-compute runs as"
            )
        if owners is not None and status.st_mode & stat.S_IWOTH:
            raise DetectionError("anybody may write to it")
        return _read_open(file, size, 0)
    finally:
        os.close(file)


def _open(path: str, is_wanted: Callable[[int], bool]) -> int:
    """Open a file for reading; return its descriptor.

    Only a file whose mode ``is_wanted`` is opened: opening a pipe blocks, and opening
    a device can have an effect, such as to start a watchdog.
    """
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(found)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        # A link to /dev/null stands for an empty file.
        is_null = stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL
        if not is_wanted(status.st_mode) and not is_null:
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        # By its descriptor: another file may have the path by now.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(f"/proc/self/fd/{found}", flags)
    finally:
        os.close(found)


def _read(
    path: str, size: int, offset: int, is_wanted: Callable[[int], bool] = stat.S_ISREG
) -> bytes:
    file = _open(path, is_wanted)
    try:
        return _read_open(file, size, offset)
    finally:
        os.close(file)


def _read_open(file: int, size: int, offset: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.pread(file, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def names(source: Source, folder: str) -> list[str]:
    """Return the sorted names in a directory.

    :raises OSError: the directory cannot be read.
    """
    text = source.read(
        "folders" + folder, lambda: json.dumps(sorted(os.listdir(folder))).encode()
    )
    found = decoded(text)
    return [name for name in found if isinstance(name, str)]


def status(source: Source, path: str) -> Status:
    """Return the kind, mode, owner and group of a file.

    :raises OSError: they cannot be read, for example because there is no such file.
    """
    text = source.read("status" + path, lambda: _status(path))
    fields = decoded(text)
    if [type(field) for field in fields] != [str, int, str, str]:
        raise OSError(0, "its status in the archive is malformed")
    return Status(*fields)


def _status(path: str) -> bytes:
    found = os.stat(path)
    return _described(found.st_mode, found.st_uid, found.st_gid)


@functools.lru_cache(maxsize=64)  # names of users are slow to find
def _described(mode: int, uid: int, gid: int) -> bytes:
    kind = stat.filemode(mode)[0]
    return json.dumps([kind, stat.S_IMODE(mode), _user(uid), _group(gid)]).encode()


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


class Source(Protocol):
    """A machine whose facts can be read: this one, or one in an archive."""

    def read(self, what: str, read: Callable[[], bytes]) -> bytes:
        """Return a fact of the machine.

        :param what: the fact's name in an archive, such as ``files/proc/cpuinfo``. Do
            not change a name: older archives have it.
        :param read: reads the fact on this machine.
        :raises OSError: the fact does not exist, or cannot be read.
        :raises DetectionError: raised by ``read``.
        """


class Status(NamedTuple):
    """A file's mode, owner and group; ``kind`` is the first character of ``ls -l``."""

    kind: str
    mode: int
    owner: str
    group: str

    def __str__(self) -> str:
        return f"{self.owner}:{self.group} {self.mode:04o}"


def decoded(text: bytes) -> list[Any]:
    """Decode a list from JSON.

    :raises OSError: ``text`` is not such a list.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise OSError(0, "its value in the archive is malformed")
    return value
