# SPDX-License-Identifier: Apache-2.0

"""Whose libvirt, QEMU and firmware a host runs: this machine's, or another Debian's.

Another Debian lies unpacked in a folder; see tools/rootfs.py. libvirtd and its
guests live in a root that is the machine's, with that Debian's /usr in it. So all
other paths mean to them what they mean to nova-compute, which stays outside.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from devcloud.simhost import mounts

_TREE = Path(__file__).parents[2]
_FOLDER = _TREE / ".venv" / "rootfs"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
#: What nova-compute reads of them too: it sees the other Debian's.
_SHARED = ("share/qemu", "share/OVMF", "share/ovmf")
#: No distribution puts anything there, and somebody may keep a cloud there.
_THE_MACHINES_OWN = ("local", "src")


class UserlandError(RuntimeError):
    """It lacks what a host needs; the message says what to install."""


class Userland:
    """This machine's own programs.

    :param root: a folder to make the host's root in, when it needs one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def program(self, name: str) -> Path:
        """Where a program lies, for a process outside of the host's root."""
        path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
        found = shutil.which(name, path=path)
        if found is None:
            raise UserlandError(f"No {name} on this machine: see bindep.txt.")
        return Path(found)

    def inside(self, program: Path) -> str:
        """What a process in the host's root calls it."""
        return str(program)

    def share(self, name: str) -> Path:
        """Where a file of /usr/share lies, for a process outside of the host's root."""
        return Path("/usr/share", name)

    def shown(self, path: Path) -> list[Path]:
        """Where processes in the host's root and outside of it find a file."""
        return [path]

    def command(self, command: list[str]) -> list[str]:
        """The same command, run in the host's root."""
        return command

    def mount(self) -> None:
        """Make the host's root. Once, and after all other mounts."""


class UnpackedUserland(Userland):
    """Another Debian's.

    :param folder: with its ``usr``.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        super().__init__(root)
        self.folder = folder
        self.usr = folder / "usr"

    def program(self, name: str) -> Path:
        for folder in ("bin", "sbin"):
            if (program := self.usr / folder / name).exists():
                return program
        raise UserlandError(f"No {name} in {self.folder}: see {_how(self.folder)}.")

    def inside(self, program: Path) -> str:
        return str(Path("/") / program.relative_to(self.folder))

    def share(self, name: str) -> Path:
        return self.usr / "share" / name

    def shown(self, path: Path) -> list[Path]:
        return [path, self.root / path.relative_to("/")]

    def command(self, command: list[str]) -> list[str]:
        chroot = str(super().program("chroot"))
        return [chroot, str(self.root), *command]

    def mount(self) -> None:
        _require_merged_usr()
        for name in _SHARED:
            if Path("/usr", name).is_dir():
                mounts.bind(self.usr / name, Path("/usr", name))
        self.root.mkdir(parents=True, exist_ok=True)
        mounts.bind("/", self.root, recursive=True)
        mounts.bind(self.usr, self.root / "usr")
        for name in _THE_MACHINES_OWN:
            if Path("/usr", name).is_dir() and (self.usr / name).is_dir():
                own = self.root / "usr" / name
                mounts.bind(Path("/usr", name), own, recursive=True)
        # It tells where the machine's libraries are. Empty, it is not believed.
        cache = self.root / "etc/ld.so.cache"
        if cache.exists():
            mounts.bind("/dev/null", cache)


def userland(distribution: str, root: Path) -> Userland:
    """The programs of a distribution by its codename; "" is this machine's.

    :raises UserlandError: nobody has unpacked it.
    """
    if distribution in ("", _codename()):
        return Userland(root)
    folder = _FOLDER / distribution
    if not is_here(distribution):
        raise UserlandError(f"No {distribution} in {folder}: {_how(folder)}.")
    return UnpackedUserland(root, folder)


def is_here(distribution: str) -> bool:
    """Whether a host of that distribution can be made on this machine."""
    program = _FOLDER / distribution / "usr/sbin/libvirtd"
    return distribution in ("", _codename()) or program.exists()


def _codename() -> str:
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def _how(folder: Path) -> str:
    return f"make setup-{folder.name}"


def _require_merged_usr() -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).resolve() != Path("/usr", name):
            raise UserlandError(
                f"/{name} is not a link to /usr/{name} on this machine, so that "
                "another Debian's /usr would not be all of its programs."
            )
