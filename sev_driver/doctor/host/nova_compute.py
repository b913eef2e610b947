# SPDX-License-Identifier: Apache-2.0

"""Finds this host's nova-compute, and does the import that it does, in its Python."""

from __future__ import annotations

import contextlib
import glob
import importlib.metadata
import json
import os
import pathlib
import pwd
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import sev_driver
from sev_driver.doctor.host import ownership, programs
from sev_driver.doctor.host.evidence import Import, NovaCompute
from sev_driver.exceptions import DetectionError
from sev_driver.host import files
from sev_driver.host.files import Source, decoded

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
#: It imports nothing of sev_driver, and so runs in any Python.
_LINK = pathlib.Path(sev_driver.__file__).parent / "cmd" / "link.py"
_SECONDS = 120
#: Of its output; the rest of a longer traceback adds nothing.
_SAID = 2000

_PYTHON = re.compile(r"python[\d.]*", re.ASCII)
_UIDS = re.compile(rb"^Uid:((?:\t\d{1,10}){4})$", re.MULTILINE)
#: More than any command line of nova-compute.
_PROC_BYTES = 64 * 1024
#: More configuration files than any nova-compute reads.
_CONFIGURATION_FILES = 256


class _Process(NamedTuple):
    """A process named nova-compute: its Python, arguments and owner.

    ``elsewhere`` is true in a mount namespace, and so a container, of its own.
    """

    pid: int
    python: str
    arguments: list[str]
    uids: frozenset[int]
    elsewhere: bool


def find(of: Source) -> NovaCompute | None:
    """Return the one that runs, else the one beside this Python, else that on PATH.

    :raises DetectionError: all that run belong to users who are not believed.
    """
    found = decoded(of.read("asked/nova/compute", lambda: json.dumps(_find()).encode()))
    if not found:
        return None
    # Anybody may have written an archive.
    if [type(each) for each in found] != [str, list, bool, str]:
        raise OSError(0, "its value in the archive is malformed")
    python, words, elsewhere, user = found
    return NovaCompute(python, tuple(map(str, words)), elsewhere, user)


def try_import(of: Source, compute: NovaCompute) -> Import:
    """Do nova-compute's import of the driver, with no more rights than it has.

    :raises DetectionError: it could not be tried.
    """
    found = decoded(of.read("asked/nova/import", lambda: _try(compute)))
    if [type(each) for each in found] != [bool, str]:
        raise OSError(0, "its value in the archive is malformed")
    return Import(*found)


def _find() -> list[object]:
    believed = ownership.believed()
    running = list(_running())
    trusted = [process for process in running if process.uids <= believed]
    # The one of this host before those of containers.
    for process in sorted(trusted, key=lambda process: process.elsewhere):
        user = ownership.name_of(max(process.uids))
        return [process.python, process.arguments, process.elsewhere, user]
    if (python := _installed(believed)) is not None:
        user = next((u for u in ownership.unit_users() if u != "root"), "root")
        return [python, [], False, user]
    # A container has users of its own.
    for process in running:
        if process.elsewhere:
            return ["", [], True, ownership.name_of(max(process.uids))]
    for process in running:
        user = ownership.name_of(max(process.uids))
        raise DetectionError(
            f"process {process.pid}, named nova-compute, belongs to {user}, who is "
            "neither root nor the user of a systemd unit of nova-compute: if it is "
            f"nova-compute, run sev-doctor as {user}"
        )
    return []


def _running() -> Iterator[_Process]:
    """Yield the processes that look like nova-compute, of any user."""
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                process = _process(int(folder.name), directory)
            finally:
                os.close(directory)
            if process is not None:
                yield process


def _process(pid: int, directory: int) -> _Process | None:
    """Return the process if it looks like nova-compute.

    :param directory: its own in /proc, open: it stays this process' directory, even
        if the number is given to another one.
    """
    text = _read_proc(directory, "cmdline")
    arguments = text.decode("utf-8", "replace").split("\0")[:-1]
    # The kernel puts a script's interpreter before it.
    names = [os.path.basename(word) for word in arguments[:2]]
    if _NAME not in names:
        return None
    at = names.index(_NAME)
    python = arguments[0] if at else ""
    uids = _UIDS.search(_read_proc(directory, "status"))
    if uids is None:
        return None
    process = _Process(
        pid,
        python,
        arguments[at + 1 :],
        frozenset(map(int, uids[1].split())),
        _is_elsewhere(directory),
    )
    # Its arguments are its own words; what it runs is the kernel's.
    with contextlib.suppress(PermissionError):  # another user's, seen by no root
        program = os.readlink("exe", dir_fd=directory).removesuffix(" (deleted)")
        if not _PYTHON.fullmatch(os.path.basename(program)):
            return None
        if python and not process.elsewhere and os.path.realpath(python) != program:
            return None
    return process if _read_proc(directory, "cmdline") == text else None


def _read_proc(directory: int, name: str) -> bytes:
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    with open(file, "rb") as opened:
        return opened.read(_PROC_BYTES)


def _is_elsewhere(directory: int) -> bool:
    try:
        own = os.readlink(_PROC / "self/ns/mnt")
        return os.readlink("ns/mnt", dir_fd=directory) != own
    except OSError:
        return False  # another user's: mostly it is no container's


def _installed(believed: frozenset[int]) -> str | None:
    """Return the Python of the nova-compute that is installed; None without one."""
    beside = shutil.which(_NAME, path=os.path.dirname(sys.executable))
    script = beside or shutil.which(_NAME)
    if script is None:
        return None
    try:
        if os.stat(script).st_uid not in believed:
            return None
        text = files.read(files.LOCAL, script, 4096)
    except OSError:
        return None
    first = text.partition(b"\n")[0].decode("utf-8", "replace").strip()
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
    paths = [path for kind, each in usual + named for path in _files(kind, each)]
    return paths[:_CONFIGURATION_FILES]


def _files(kind: str, path: str) -> list[str]:
    if kind == _FILE:
        return [path]
    return sorted(glob.glob(f"{glob.escape(path)}/*.conf"))[:_CONFIGURATION_FILES]


def _try(compute: NovaCompute) -> bytes:
    python = compute.python
    is_python = _PYTHON.fullmatch(os.path.basename(python))
    if not os.path.isabs(python) or not is_python or not os.access(python, os.X_OK):
        raise DetectionError(f"{python or 'its Python'} cannot be run here")
    account, environment = None, dict(os.environ)
    if os.geteuid() == ownership.ROOT and python != sys.executable:
        account = _account(compute.user)
        if account is None:
            _refuse_changeable(python)
        else:
            # Whatever is in there, it could not do more as nova-compute.
            environment = {"PATH": programs.SYSTEM_PATH, "HOME": account.pw_dir}
    completed = programs.run(
        # From the standard input: that user may not read this installation.
        [python, "-", "--check"],
        _SECONDS,
        input_text=_LINK.read_bytes(),
        environment={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        account=account,
    )
    works = completed.status == 0
    said = completed.stdout if works else completed.stderr
    return json.dumps([works, said.strip()[-_SAID:]]).encode()


def _account(user: str) -> pwd.struct_passwd | None:
    """Return whose rights the import gets; None for root's."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return None
    return None if account.pw_uid == ownership.ROOT else account


def _refuse_changeable(python: str) -> None:
    try:
        found = ownership.changeable_by_others(python)
    except OSError as error:
        found = f"{error.filename} ({error.strerror})"
    if found is not None:
        raise DetectionError(
            f"users other than root can change {found}, so root does not run this "
            "Python: run sev-doctor as the user that nova-compute runs as, or let only "
            "root write there"
        )


def release(of: Source) -> int:
    """Return the release of Nova that is installed for this Python, such as 34.

    :raises DetectionError: Nova is not installed for it.
    """

    def read() -> bytes:
        try:
            return importlib.metadata.version("nova").encode()
        except importlib.metadata.PackageNotFoundError as error:
            raise DetectionError("Nova is not installed for this Python") from error

    text = of.read("asked/nova/release", read).decode("ascii", "replace")
    number = text.partition(".")[0]
    if not re.fullmatch(r"\d{1,4}", number, re.ASCII):
        raise DetectionError(f"{text[:20]!r} is no version of Nova")
    return int(number)
