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
"""Finds this host's nova-compute, and does the import that it does, in its Python."""

from __future__ import annotations

import glob
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence

import sev_driver
from sev_driver.doctor.evidence import Import, NovaCompute
from sev_driver.exceptions import DetectionError
from sev_driver.source import Source, decoded

_NAME = "nova-compute"
_FILE, _FOLDER = "--config-file", "--config-dir"

#: Where nova-compute looks by itself; the first is that of RDO's packages.
FILES = (
    "/usr/share/nova/nova-dist.conf",
    "/etc/nova/nova.conf",
    "/etc/nova/nova-compute.conf",
)
FOLDERS = ("/etc/nova/nova.conf.d", "/etc/nova/nova-compute.conf.d")

_PROC = pathlib.Path("/proc")
#: It imports nothing of sev_driver, and so can be run by its path.
_LINK = pathlib.Path(sev_driver.__file__).parent / "cmd" / "link.py"
_SECONDS = 120
#: Of what it says; a traceback that is longer tells no more.
_SAID = 2000


def find(of: Source) -> NovaCompute | None:
    """Return the one that runs, else the one beside this Python, else that on PATH."""
    found = decoded(of.ask("asked/nova/compute", lambda: json.dumps(_find()).encode()))
    if not found:
        return None
    # Anybody may have written an archive.
    if [type(each) for each in found] != [str, list, bool]:
        raise OSError(0, "what was written down of it makes no sense")
    python, words, elsewhere = found
    return NovaCompute(python, tuple(map(str, words)), elsewhere)


def try_import(of: Source, compute: NovaCompute) -> Import:
    """:raises DetectionError: it could not be tried."""
    found = decoded(of.ask("asked/nova/import", lambda: _try(compute.python)))
    if [type(each) for each in found] != [bool, str]:
        raise OSError(0, "what was written down of it makes no sense")
    return Import(*found)


def _find() -> list[object]:
    running = list(_running())
    for python, words, elsewhere in running:
        if not elsewhere:
            return [python, words, False]
    if running:
        return [*running[0]]
    beside = shutil.which(_NAME, path=os.path.dirname(sys.executable))
    script = beside or shutil.which(_NAME)
    return [_interpreter(script), [], False] if script else []


def _running() -> Iterator[tuple[str, list[str], bool]]:
    """Yield of each its Python, its arguments, and whether it runs in a container."""
    for folder in _PROC.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue  # it has just ended
        arguments = words.split("\0")[:-1]
        # The kernel puts a script's interpreter before it.
        names = [os.path.basename(word) for word in arguments[:2]]
        if _NAME not in names:
            continue
        at = names.index(_NAME)
        python = arguments[0] if at else ""
        yield python, arguments[at + 1 :], _is_elsewhere(folder)


def _is_elsewhere(folder: pathlib.Path) -> bool:
    try:
        own = os.readlink(_PROC / "self/ns/mnt")
        return os.readlink(folder / "ns/mnt") != own
    except OSError:
        return False  # another user's: mostly it is no container's


def _interpreter(script: str) -> str:
    """Return what the first line of a script names; empty if it names none."""
    try:
        with open(script, "rb") as file:
            first = file.readline(4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return first[2:].strip() if first.startswith("#!") else ""


def configuration(arguments: Sequence[str]) -> list[str]:
    """Return the files that it reads, in the order in which oslo.config reads them.

    Of each kind, files and folders, what is named takes the place of the usual ones;
    these come first.
    """
    named: list[tuple[str, str]] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name in (_FILE, _FOLDER):
            named.append((name, value if equals else next(words, "")))
    kinds = {kind for kind, _ in named}
    usual = [(_FILE, path) for path in FILES] if _FILE not in kinds else []
    usual += [(_FOLDER, path) for path in FOLDERS] if _FOLDER not in kinds else []
    return [path for kind, each in usual + named for path in _files(kind, each)]


def _files(kind: str, path: str) -> list[str]:
    if kind == _FILE:
        return [path]
    return sorted(glob.glob(f"{glob.escape(path)}/*.conf"))


def _try(python: str) -> bytes:
    if not os.path.isabs(python) or not os.access(python, os.X_OK):
        raise DetectionError(f"{python or 'its Python'} cannot be run here")
    stranger = None if python == sys.executable else _changeable_by_others(python)
    if stranger is not None:
        raise DetectionError(
            f"root does not run what others may change, and {stranger} is such; run "
            "sev-doctor as the user that nova-compute runs as"
        )
    try:
        run = subprocess.run(
            [python, str(_LINK), "--check"],
            cwd="/",
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise DetectionError(f"the import was not done in {_SECONDS} s") from None
    said = run.stdout if run.returncode == 0 else run.stderr
    return json.dumps([run.returncode == 0, said.strip()[-_SAID:]]).encode()


def _changeable_by_others(python: str) -> str | None:
    """Return the file or folder by which others could have root run their own.

    A process may call itself nova-compute, and name any Python.
    """
    if os.geteuid() != 0:
        return None
    for path in {python, os.path.realpath(python)}:
        for each in (path, *map(str, pathlib.Path(path).parents)):
            found = os.stat(each)
            if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return each
    return None
