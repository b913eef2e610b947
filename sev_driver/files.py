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
"""Files, folders and who may open them, of this machine or of a record of one."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from collections.abc import Callable

from sev_driver.source import Source, Status, decoded

#: More of one file is never read, unless the reader asks for less.
FILE_BYTES = 1024 * 1024


class _Here:
    def ask(self, what: str, read: Callable[[], bytes]) -> bytes:
        return read()


#: This machine, as it is now.
HERE: Source = _Here()


def read(source: Source, path: str, size: int = FILE_BYTES, offset: int = 0) -> bytes:
    """Return the file's bytes from ``offset`` on, at most ``size`` of them.

    :raises OSError: the file cannot be read.
    """
    what = "files" + path + (f"@{offset:#x}" if offset else "")
    # A record may hold more than is asked for.
    return source.ask(what, lambda: _read(path, size, offset))[:size]


def _read(path: str, size: int, offset: int) -> bytes:
    # A pipe is not waited for: without a place to read at, it cannot be read.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = b""
        while len(data) < size:
            more = os.pread(file, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data
    finally:
        os.close(file)


def names(source: Source, folder: str) -> list[str]:
    """Return the names in a folder, sorted.

    :raises OSError: the folder cannot be read.
    """
    text = source.ask(
        "folders" + folder, lambda: json.dumps(sorted(os.listdir(folder))).encode()
    )
    found = decoded(text)
    return [name for name in found if isinstance(name, str)]


def status(source: Source, path: str) -> Status:
    """Return who may do what with a file.

    :raises OSError: that cannot be told, as of a file that is not there.
    """
    text = source.ask("status" + path, lambda: _status(path))
    fields = decoded(text)
    if [type(field) for field in fields] != [str, int, str, str]:
        raise OSError(0, "what was written down of it makes no sense")
    return Status(*fields)


def _status(path: str) -> bytes:
    found = os.stat(path)
    mode = stat.S_IMODE(found.st_mode)
    kind = stat.filemode(found.st_mode)[0]
    return json.dumps([kind, mode, _user(found.st_uid), _group(found.st_gid)]).encode()


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
