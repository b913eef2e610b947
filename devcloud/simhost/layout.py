# SPDX-License-Identifier: Apache-2.0
"""Where a host keeps what: everything below its state folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

# The folders that libvirt has built in, and the private ones in their stead.
LIBVIRT_FOLDERS = {
    "/etc/libvirt": "etc",
    "/run/libvirt": "run",
    "/var/lib/libvirt": "lib",
    "/var/cache/libvirt": "cache",
    "/var/log/libvirt": "log",
}
# What libvirtd runs, by paths as it sees them: they hold whatever the state folder
# is called, while PATH and LD_PRELOAD do not take a colon or a space.
BIN = "/var/lib/libvirt/simhost"
LIBVIRTD = f"{BIN}/libvirtd"
SHIM = f"{BIN}/cpuid_shim.so"
SLOTS = f"{BIN}/slots"
LAUNCHES = f"{BIN}/launches"
MONITORS = "/run/libvirt/simhost"
CONTROL_GROUP = "/sys/fs/cgroup"
FIRMWARE = "/etc/qemu/firmware"
LIBVIRTD_LOG = "/var/log/libvirt/libvirtd.log"

_SOCKET = "run/libvirt-sock"
_LONGEST_SOCKET_PATH = 107  # sockaddr_un


class Layout:
    """The paths of one host."""

    def __init__(self, state: Path) -> None:
        self.state = state.absolute()
        self.settings = self.state / "settings.json"
        self.uuid = self.state / "uuid"
        self.hosts = self.state / "hosts"
        self.parameters = self.state / "parameters"
        self.cpuinfo = self.state / "cpuinfo"
        self.iommu = self.state / "iommu"
        self.firmware = self.state / "firmware"
        self.control_group = self.state / "cgroup"
        self.root = self.state / "root"
        self.bin = self.outside(BIN)
        self.slots = self.outside(SLOTS)
        self.launches = self.outside(LAUNCHES)
        self.secure_processor = self.state / "simulated-psp"
        self.libvirtd_log = self.outside(LIBVIRTD_LOG)
        self.capability_cache = self.outside("/var/cache/libvirt/qemu/capabilities")

    def outside(self, inside: str) -> Path:
        """Where a path below one of LIBVIRT_FOLDERS is for the machine."""
        for folder, private in LIBVIRT_FOLDERS.items():
            if Path(inside).is_relative_to(folder):
                return self.state / private / Path(inside).relative_to(folder)
        raise ValueError(f"{inside} is in none of {', '.join(LIBVIRT_FOLDERS)}.")

    @property
    def libvirt_socket(self) -> Path:
        """libvirtd's socket, by a path that fits into a socket's address."""
        path = self.state / _SOCKET
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
            return path
        return self.short_link / _SOCKET

    @property
    def short_link(self) -> Path:
        """A link to the state folder, for a state folder with a long path."""
        digest = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"simhost-{digest}"

    def make_short_link(self) -> None:
        """Needed only where libvirt_socket leads through it."""
        if self.short_link not in self.libvirt_socket.parents:
            return
        self.remove_short_link()
        self.short_link.symlink_to(self.state)

    def remove_short_link(self) -> None:
        # Anybody may write to the temporary folder: touch only what is ours.
        link = self.short_link
        if link.is_symlink() and link.lstat().st_uid == os.geteuid():
            link.unlink()
