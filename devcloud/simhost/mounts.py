# SPDX-License-Identifier: Apache-2.0
"""Mounts in the private namespace; they end with it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "vhost-net", "net")
_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}


class NamespaceError(RuntimeError):
    """Not where mounting would be safe."""


def require_private_namespace() -> None:
    """Refuse where a mount would be seen by the machine."""
    if os.geteuid() != 0:
        raise NamespaceError("A host is prepared by root: mounting needs it.")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    if any(" shared:" in mount for mount in mounts):
        raise NamespaceError(
            "This mount namespace passes mounts on to others. Enter a private one: "
            "unshare --mount --uts --propagation private."
        )


def bind(source: Path | str, target: Path | str, *, recursive: bool = False) -> None:
    """Show the source at the target, and what is mounted below it if recursive."""
    _run("mount", "--rbind" if recursive else "--bind", str(source), str(target))


def bind_if_there(source: Path, target: str) -> None:
    """Show the source at the target, unless this machine's kernel has no such file."""
    if Path(target).exists():
        bind(source, target)


def private_devices(extra: tuple[str, ...]) -> None:
    """A /dev of its own, in which the extra devices are there and do nothing.

    They are /dev/null: libvirt and Nova only ask whether they exist and open.
    """
    new = Path(tempfile.mkdtemp())
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(new))
    for name in _DEVICES:
        if Path("/dev", name).exists():
            _bind_device(Path("/dev", name), new / name)
    for name in extra:
        _bind_device(Path("/dev/null"), new / name)
    for name, target in _LINKS.items():
        (new / name).symlink_to(target)
    for name in ("pts", "shm", "mqueue"):
        (new / name).mkdir()
    options = "newinstance,gid=5,mode=620,ptmxmode=666"
    _run("mount", "-t", "devpts", "-o", options, "devpts", str(new / "pts"))
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(new / "shm"))
    _run("mount", "--move", str(new), "/dev")
    new.rmdir()


def add_kernel_module(
    name: str, parameters: Path, scratch: Path, others: tuple[str, ...] = ()
) -> None:
    """Have /sys/module show one module more, with these parameters, and others.

    An overlay adds the folder and leaves the other modules visible. The parameters
    are bound over it, since an overlay need not show later changes below it.
    """
    (scratch / name / "parameters").mkdir(parents=True, exist_ok=True)
    for other in others:
        (scratch / other).mkdir(exist_ok=True)
    # A relative lowerdir: in an option, a path with a colon or comma would not do.
    options = f"lowerdir={scratch.name}:/sys/module"
    subprocess.run(
        ["mount", "-t", "overlay", "-o", options, "overlay", "/sys/module"],
        check=True,
        cwd=scratch.parent,
    )
    bind(parameters, Path("/sys/module", name, "parameters"))


def hide_control_groups() -> None:
    """So that libvirtd makes none, which would outlive the namespace."""
    if os.path.ismount("/sys/fs/cgroup"):
        _run("umount", "--recursive", "--lazy", "/sys/fs/cgroup")


def _bind_device(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
    else:
        target.touch()
    bind(source, target)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
