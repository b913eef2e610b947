# SPDX-License-Identifier: Apache-2.0

"""The directories of firmware descriptors, in the order in which libvirt uses them."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from sev_driver.host import files, firmware
from sev_driver.host.files import LOCAL, Source

#: By ascending priority: a file replaces those of the same name before it.
FOLDERS: Sequence[pathlib.Path] = (
    pathlib.Path("/usr/share/qemu/firmware"),
    pathlib.Path("/etc/qemu/firmware"),
)

#: Limits far above the size of any descriptor, and any number of them.
_FILE_BYTES = 64 * 1024
_FILES = 1000

#: Path, modification time (ns) and size of each file: enough to detect a change.
Fingerprint = tuple[tuple[str, int, int], ...]


def fingerprint(folders: Sequence[pathlib.Path] | None = None) -> Fingerprint:
    """Return a value that changes when the result of :func:`read` can change."""
    found: list[tuple[str, int, int]] = []
    for folder in FOLDERS if folders is None else folders:
        try:
            with os.scandir(folder) as entries:
                found += map(_fingerprint_of, entries)
        except OSError as error:
            found.append((str(folder), 0, error.errno or 0))
    return tuple(sorted(found))


def _fingerprint_of(entry: os.DirEntry[str]) -> tuple[str, int, int]:
    try:
        status = entry.stat()
    except OSError as error:  # a dangling link, or just removed
        return entry.path, 0, error.errno or 0
    return entry.path, status.st_mtime_ns, status.st_size


def read(
    folders: Sequence[pathlib.Path] | None = None,
    of: Source = LOCAL,
) -> firmware.FirmwareView | None:
    """Read all descriptors; return None if no directory can be read.

    :param folders: the directories by ascending priority; :data:`FOLDERS` by default.
    :param of: the machine or archive to read from.
    """
    wanted = FOLDERS if folders is None else folders
    found, complete = read_files(wanted, of)
    if not found:
        return None
    return firmware.view([str(folder) for folder in wanted], found, complete)


def read_files(
    folders: Sequence[pathlib.Path], of: Source = LOCAL
) -> tuple[dict[str, dict[str, bytes]], bool]:
    """Return the files by directory and name, and whether all could be read."""
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
    """Return the files of one directory, and whether all could be read."""
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
