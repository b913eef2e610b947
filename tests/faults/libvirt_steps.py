# SPDX-License-Identifier: Apache-2.0
"""Stops libvirt at a step of a guest's life, for as long as a test wants it."""

import contextlib
import os
import select
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from devcloud.simhost.private_libvirt import PrivateLibvirt

TIMEOUT = 180
#: libvirt runs it with a guest's name and the step, and waits for its end.
SCRIPT = """#!/bin/sh
gate="$(dirname "$0")/$2"
test -p "$gate.reached" || exit 0
echo "$1" > "$gate.reached"
read -r word < "$gate.go"
"""


class Gate:
    """One step at which libvirt waits.

    :param path: of two pipes, ``.reached`` and ``.go``.
    """

    def __init__(self, path: Path) -> None:
        self._paths = [path.with_suffix(end) for end in (".reached", ".go")]
        for file in self._paths:
            os.mkfifo(file)
        # Open at both ends: neither side has to be there before the other.
        self._reached, self._go = (os.open(file, os.O_RDWR) for file in self._paths)

    def wait(self) -> str:
        """Return when libvirt is there, with the guest's name."""
        if not select.select([self._reached], [], [], TIMEOUT)[0]:
            raise TimeoutError(f"libvirt was not at {self._paths[0].stem}")
        return os.read(self._reached, 4096).decode().strip()

    def open(self) -> None:
        """Let it go on, and stop it here no more."""
        for file in self._paths:
            file.unlink(missing_ok=True)
        os.write(self._go, b"\n")

    def close(self) -> None:
        self.open()
        os.close(self._reached)
        os.close(self._go)


class Steps:
    """libvirt's own hook script, on one host."""

    def __init__(self, host: PrivateLibvirt) -> None:
        self._socket = str(host.layout.libvirt_socket)
        self._folder = host.layout.outside("/etc/libvirt/hooks")

    def install(self) -> None:
        """Have a libvirtd that runs look for the script; return when it has."""
        self._folder.mkdir(exist_ok=True)
        for kind in ("daemon", "qemu"):
            script = self._folder / kind
            script.write_text(SCRIPT)
            script.chmod(0o755)
        with self.held("reload") as gate:
            os.kill(self._libvirtd(), signal.SIGHUP)
            gate.wait()

    @contextlib.contextmanager
    def held(self, step: str) -> Iterator[Gate]:
        """Stop libvirt at a step from now on: prepare, start, started, stopped …"""
        gate = Gate(self._folder / step)
        try:
            yield gate
        finally:
            gate.close()

    def _libvirtd(self) -> int:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self._socket)
            size = struct.calcsize("3i")
            peer = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid: int = struct.unpack("3i", peer)[0]
        return pid
