# SPDX-License-Identifier: Apache-2.0
"""The process between libvirtd and QEMU's monitor, for as long as QEMU lives."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Callable

from .answers import Answers, Message

_CHUNK = 1 << 16
_MOST_FDS = 16


class Proxy:
    """Passes QMP on, and puts its own answers in between.

    qemu_gone is the reading end of a pipe whose writing end QEMU alone holds: it
    tells of QEMU's end also when QEMU goes to the background, as it does when
    libvirt asks for capabilities.
    """

    def __init__(
        self,
        answers: Answers,
        listener: socket.socket,
        qemu_address: str,
        qemu_gone: int,
    ) -> None:
        self.answers = answers
        self.listener = listener
        self.qemu_address = qemu_address
        self.qemu_gone = qemu_gone

    def serve(self) -> None:
        """One client after another: libvirtd may be restarted, the guest stays."""
        while self._client_waits():
            client, _ = self.listener.accept()
            qemu = socket.socket(socket.AF_UNIX)
            with client, qemu:
                try:
                    qemu.connect(self.qemu_address)
                    Conversation(self.answers, client, qemu).go_on()
                except OSError:
                    continue  # either has gone

    def _client_waits(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self.qemu_gone, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select()]
        return self.qemu_gone not in ready


class Conversation:
    """One client's, line by line, so that no message falls into another."""

    def __init__(
        self, answers: Answers, client: socket.socket, qemu: socket.socket
    ) -> None:
        self.answers = answers
        self.client = client
        self.qemu = qemu
        self._from_client = b""
        self._from_qemu = b""
        # Handed over by getfd and add-fd, on their way to QEMU.
        self._fds: list[int] = []

    def go_on(self) -> None:
        """Until either side ends it. QEMU's last words still get through."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.client, selectors.EVENT_READ, self._read_client)
            selector.register(self.qemu, selectors.EVENT_READ, self._read_qemu)
            while all(key.data() for key, _ in selector.select()):
                pass

    def _read_qemu(self) -> bool:
        data = self.qemu.recv(_CHUNK)
        lines, self._from_qemu = _split(self._from_qemu + data)
        if lines:
            self.client.sendall(lines)
        return bool(data)

    def _read_client(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.client, _CHUNK, _MOST_FDS)
        self._fds += fds
        lines, self._from_client = _split(self._from_client + data)
        for line in lines.splitlines():
            if line.strip():
                self._handle(json.loads(line))
        return bool(data)

    def _handle(self, message: Message) -> None:
        answer = self.answers.to(message)
        if answer is None:
            socket.send_fds(self.qemu, [_encode(message)], self._fds)
            while self._fds:
                os.close(self._fds.pop())
            return
        if "id" in message:
            answer["id"] = message["id"]
        self.client.sendall(_encode(answer))


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and the start of the next."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _encode(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\r\n"


def detach(keep: set[int], work: Callable[[], None]) -> None:
    """Do the work in a process of its own, with no file open but those.

    It is nobody's child: the caller becomes QEMU, which would not wait for it.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _close_all_but(keep)
            work()
    finally:
        os._exit(0)


def _close_all_but(keep: set[int]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):  # the one that listed the folder
                os.close(fd)
