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
"""The folders of firmware descriptors, in libvirt's order."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from sev_driver import firmware

#: From the least to the most: a file takes the place of its namesakes before.
FOLDERS: Sequence[pathlib.Path] = (
    pathlib.Path("/usr/share/qemu/firmware"),
    pathlib.Path("/etc/qemu/firmware"),
)

#: Far above any descriptor, and any number of them.
_FILE_BYTES = 1024 * 1024
_FILES = 1000

#: Name, time of change and size of each file: enough to see that one has changed.
Glance = tuple[tuple[str, int, int], ...]


def glance(folders: Sequence[pathlib.Path] | None = None) -> Glance:
    """Return what tells whether :func:`read` would find something else."""
    found: list[tuple[str, int, int]] = []
    for folder in FOLDERS if folders is None else folders:
        try:
            with os.scandir(folder) as entries:
                found += map(_glance_at, entries)
        except OSError as error:
            found.append((str(folder), 0, error.errno or 0))
    return tuple(sorted(found))


def _glance_at(entry: os.DirEntry[str]) -> tuple[str, int, int]:
    try:
        status = entry.stat()
    except OSError as error:  # a link to nowhere, or gone meanwhile
        return entry.path, 0, error.errno or 0
    return entry.path, status.st_mtime_ns, status.st_size


def read(
    folders: Sequence[pathlib.Path] | None = None,
) -> firmware.FirmwareView | None:
    """Return what the descriptors say; None where no folder can be read.

    :param folders: from the least to the most; :data:`FOLDERS` by default.
    """
    wanted = FOLDERS if folders is None else folders
    files: list[dict[str, bytes]] = []
    complete = True
    for folder in wanted:
        try:
            contents, whole = _read_folder(folder)
        except FileNotFoundError:
            continue
        except OSError:
            complete = False
            continue
        files.append(contents)
        complete = complete and whole
    if not files:
        return None
    return firmware.view([str(folder) for folder in wanted], files, complete)


def _read_folder(folder: pathlib.Path) -> tuple[dict[str, bytes], bool]:
    """Return the files of one folder, and whether these are all."""
    contents: dict[str, bytes] = {}
    names = sorted(os.listdir(folder))
    whole = len(names) <= _FILES
    for name in names[:_FILES]:
        path = folder / name
        try:
            if path.is_dir():
                continue
            # A link to /dev/null masks a descriptor, as an empty file does.
            with path.open("rb") as file:
                contents[name] = file.read(_FILE_BYTES)
        except OSError:
            whole = False
    return contents, whole
