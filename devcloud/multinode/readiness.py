# SPDX-License-Identifier: Apache-2.0
"""Stands in for systemd, whom a server tells that it is up: sd_notify(3)."""

import socket


class ReadinessSocket:
    """One server's ``NOTIFY_SOCKET``."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("")  # the kernel picks a free abstract name
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def environment(self) -> dict[str, str]:
        name: bytes = self._socket.getsockname()
        return {"NOTIFY_SOCKET": "@" + name[1:].decode()}

    def is_ready(self) -> bool:
        """Whether the message that has just come in says so."""
        return b"READY=1" in self._socket.recv(4096).splitlines()

    def close(self) -> None:
        self._socket.close()
