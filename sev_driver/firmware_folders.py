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

from sev_driver import files, firmware
from sev_driver.files import HERE
from sev_driver.source import Source

#: From the least to the most: a file takes the place of its namesakes before.
FOLDERS: Sequence[pathlib.Path] = (
    pathlib.Path("/usr/share/qemu/firmware"),
    pathlib.Path("/etc/qemu/firmware"),
)

#: Far above any descriptor, and any number of them.
_FILE_BYTES = 64 * 1024
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
    of: Source = HERE,
) -> firmware.FirmwareView | None:
    """Return what the descriptors say; None where no folder can be read.

    :param folders: from the least to the most; :data:`FOLDERS` by default.
    """
    wanted = FOLDERS if folders is None else folders
    found, complete = read_files(wanted, of)
    if not found:
        return None
    return firmware.view([str(folder) for folder in wanted], found.values(), complete)


def read_files(
    folders: Sequence[pathlib.Path], of: Source = HERE
) -> tuple[dict[str, dict[str, bytes]], bool]:
    """Return the files by folder and name, and whether these are all."""
    found: dict[str, dict[str, bytes]] = {}
    complete = True
    for folder in map(str, folders):
        try:
            found[folder], whole = _read_folder(folder, of)
        except FileNotFoundError:
            continue
        except OSError:
            complete = False
            continue
        complete = complete and whole
    return found, complete


def _read_folder(folder: str, of: Source) -> tuple[dict[str, bytes], bool]:
    """Return the files of one folder, and whether these are all."""
    contents: dict[str, bytes] = {}
    names = files.names(of, folder)
    whole = len(names) <= _FILES
    for name in names[:_FILES]:
        try:
            # A link to /dev/null masks a descriptor, as an empty file does.
            contents[name] = files.read(of, f"{folder}/{name}", _FILE_BYTES)
        except IsADirectoryError:
            continue
        except OSError:
            whole = False
    return contents, whole
