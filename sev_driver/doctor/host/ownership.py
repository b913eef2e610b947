# SPDX-License-Identifier: Apache-2.0

"""Who may own what root's sev-doctor believes or runs on a host.

Any local user can give a process the name nova-compute, and name it any file and any
Python. So a process and its configuration count only if they belong to root, to the
user that runs the doctor, or to the user of nova-compute's systemd unit.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import grp
import os
import pathlib
import pwd
import re
import stat
from collections.abc import Iterator

from sev_driver.host import files

ROOT = 0

#: Where systemd looks for units.
UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/lib/systemd/system")
#: Those of packages and OpenStack-Ansible, and DevStack's.
_UNITS = ("*nova-compute*.service", "devstack@n-cpu.service")
#: The account of packages and of Kolla's images, where there is no unit.
_NOVA = "nova"
_USER = re.compile(r"^User[ \t]*=[ \t]*([A-Za-z0-9_][\w.-]{0,31})[ \t]*$", re.M | re.A)
_UNIT_BYTES = 64 * 1024

#: An installation has some ten thousand files; more are not looked through.
_ENTRIES = 500_000


def unit_users() -> list[str]:
    """Return the users that nova-compute's units run it as; nova without a unit.

    Only a unit that root owns counts. One that names no user runs as root.
    """
    users: set[str] = set()
    units = list(_units())
    for path in units:
        users.update(_USER.findall(_text(path))[-1:] or ["root"])
    if not units:
        users.add(_NOVA)
    return sorted(user for user in users if _account(user) is not None)


def _units() -> Iterator[str]:
    """Yield the unit files of nova-compute, and what administrators add to them."""
    for directory in UNIT_DIRECTORIES:
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in sorted(names):
            if not any(fnmatch.fnmatch(name.removesuffix(".d"), p) for p in _UNITS):
                continue
            path = f"{directory}/{name}"
            if name.endswith(".d"):
                yield from sorted(glob.glob(f"{path}/*.conf"))
            else:
                yield path


def _text(path: str) -> str:
    try:
        if os.stat(path).st_uid != ROOT:
            return ""
        text = files.read(files.LOCAL, path, _UNIT_BYTES)
    except OSError:
        return ""
    return text.decode("utf-8", "replace")


def _account(user: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def believed() -> frozenset[int]:
    """Return the numbers of the users whose processes and files count."""
    units = (_account(user) for user in unit_users())
    return frozenset(
        {ROOT, os.geteuid(), *(user.pw_uid for user in units if user is not None)}
    )


def name_of(uid: int) -> str:
    """Return a user's name, or its number where it has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def changeable_by_others(python: str) -> str | None:
    """Return a file by which others than root can change what a Python runs.

    Looked at are the interpreter, the directories above it, and all that it imports
    from: its standard library, its site-packages and what their ``.pth`` files name.

    :raises OSError: that cannot be read.
    """
    for path in (python, os.path.realpath(python)):
        if (found := _changeable_on_the_way(path)) is not None:
            return found
    return _changeable_below(_import_directories(python))


def _changeable_on_the_way(path: str) -> str | None:
    for each in (path, *map(str, pathlib.Path(path).parents)):
        if _is_changeable(os.stat(each)):
            return each
    return None


def _is_changeable(status: os.stat_result) -> bool:
    if status.st_uid != ROOT or status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and _has_members(status.st_gid)


@functools.lru_cache
def _has_members(gid: int) -> bool:
    """Return whether a group has others than root in it.

    Debian's /usr/local belongs to the group staff, which is empty.
    """
    if gid == ROOT:
        return False
    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return True
    members |= {user.pw_name for user in pwd.getpwall() if user.pw_gid == gid}
    return bool(members - {"root"})


def _import_directories(python: str) -> list[str]:
    """Return the directories that a Python imports from by itself."""
    prefixes = {
        os.path.dirname(os.path.dirname(path))
        for path in (python, os.path.realpath(python))
    }
    patterns = ("lib*/python3*", "local/lib*/python3*")
    return sorted(
        found
        for prefix in prefixes
        for pattern in patterns
        for found in glob.glob(f"{glob.escape(prefix)}/{pattern}")
    )


def _changeable_below(directories: list[str]) -> str | None:
    waiting, seen, entries = list(directories), set[str](), 0
    while waiting:
        directory = os.path.realpath(waiting.pop())
        if directory in seen or not os.path.exists(directory):
            continue
        seen.add(directory)
        if (found := _changeable_on_the_way(directory)) is not None:
            return found
        if not os.path.isdir(directory):
            continue
        with os.scandir(directory) as listed:
            for entry in listed:
                entries += 1
                if entries > _ENTRIES:
                    return f"one of more than {_ENTRIES} files below {directories[0]}"
                if entry.is_symlink() or entry.is_dir():
                    waiting.append(entry.path)
                elif _is_changeable(entry.stat(follow_symlinks=False)):
                    return entry.path
                elif entry.name.endswith(".pth"):
                    waiting += _named_by(entry.path)
    return None


def _named_by(pth: str) -> list[str]:
    """Return the directories that a ``.pth`` file adds to the module search path."""
    text = files.read(files.LOCAL, pth).decode("utf-8", "replace")
    lines = (line.strip() for line in text.splitlines())
    return [
        os.path.join(os.path.dirname(pth), line)
        for line in lines
        if line and not line.startswith(("#", "import ", "import\t"))
    ]
