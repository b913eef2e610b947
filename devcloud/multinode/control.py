# SPDX-License-Identifier: Apache-2.0
"""One line of JSON to a process of the cloud, and one back."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

#: Starting a host takes seconds, on a busy machine many.
TIMEOUT = 120.0


class ControlError(Exception):
    """What was asked for was not done; the message says why."""


class Request(NamedTuple):
    """What somebody asks for, and the line on which he waits."""

    action: str
    #: Of a process, or of a host.
    name: str
    line: socket.socket

    def answer(self, error: str | None = None) -> None:
        # Who does not wait for the answer does not get one.
        with self.line, contextlib.suppress(BrokenPipeError):
            self.line.sendall(json.dumps({"error": error}).encode())


class ControlSocket:
    """Where requests come in. Who may write to its folder's files may ask."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        with _address(path) as address:
            self._socket.bind(address)
        self._socket.listen()

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> Request:
        line, _ = self._socket.accept()
        line.settimeout(5)
        values = json.loads(_all(line))
        return Request(values["action"], values["name"], line)


def ask(path: Path, action: str, name: str) -> None:
    """Have it done; return when it is."""
    with socket.socket(socket.AF_UNIX) as line, _address(path) as address:
        line.settimeout(TIMEOUT)
        line.connect(address)
        line.sendall(json.dumps({"action": action, "name": name}).encode())
        line.shutdown(socket.SHUT_WR)
        answer: dict[str, Any] = json.loads(_all(line) or b"{}")
    error = answer.get("error", "it has ended before it could answer")
    if error is not None:
        raise ControlError(f"{action} {name}: {error}")


def _all(line: socket.socket) -> bytes:
    data = b""
    while more := line.recv(4096):
        data += more
    return data


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """An address that is short enough, whatever the path's length is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
