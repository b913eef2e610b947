# SPDX-License-Identifier: Apache-2.0
"""A libvirtd whose every answer takes its time."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path


class SlowLibvirt:
    """A socket before libvirtd's own: what it answers comes through after a while.

    :param path: of the socket that Nova is given.
    :param libvirtd: of libvirtd's.
    """

    def __init__(self, path: Path, libvirtd: Path) -> None:
        self.path = path
        self.answers = 0
        self._libvirtd = libvirtd
        self._delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.path}"

    def __enter__(self) -> "SlowLibvirt":
        self._thread.start()
        serve = asyncio.start_unix_server(self._serve, str(self.path))
        self._server = asyncio.run_coroutine_threadsafe(serve, self._loop).result(10)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @contextlib.contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Keep back each answer for so long."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    async def _end(self) -> None:
        self._server.close()
        lines = asyncio.all_tasks() - {asyncio.current_task()}
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    async def _serve(
        self, nova: asyncio.StreamReader, to_nova: asyncio.StreamWriter
    ) -> None:
        libvirtd, to_libvirtd = await asyncio.open_unix_connection(str(self._libvirtd))
        asked = asyncio.create_task(self._pass(nova, to_libvirtd))
        with contextlib.suppress(ConnectionError):
            await self._answer(libvirtd, to_nova)
        asked.cancel()
        for writer in (to_nova, to_libvirtd):
            writer.close()

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
        target.close()

    async def _answer(
        self, libvirtd: asyncio.StreamReader, to_nova: asyncio.StreamWriter
    ) -> None:
        # libvirt's messages begin with their length, itself included.
        while True:
            try:
                head = await libvirtd.readexactly(4)
                body = await libvirtd.readexactly(int.from_bytes(head, "big") - 4)
            except asyncio.IncompleteReadError:
                return
            self.answers += 1
            self._loop.call_later(self._delay, to_nova.write, head + body)
