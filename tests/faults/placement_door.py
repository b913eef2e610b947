# SPDX-License-Identifier: Apache-2.0
"""A door before Placement, at which a test can hold one request or its answer."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from devcloud.endpoints import HOST

TIMEOUT = 180


class Hold:
    """One request that is held.

    :param request: such as ``POST /reshaper``.
    :param moment: "before" Placement has got it, or "after": who asks gets no answer.
        Or "awhile": at the end he comes through.
    """

    def __init__(self, request: str, moment: str) -> None:
        self.request = request
        self.moment = moment
        self._reached = threading.Event()
        self._go = threading.Event()

    def wait(self) -> None:
        """Return when it is there."""
        if not self._reached.wait(TIMEOUT):
            raise TimeoutError(f"nobody asked Placement: {self.request}")

    def hold(self) -> None:
        self._reached.set()
        self._go.wait()

    def end(self) -> None:
        self._go.set()


class PlacementDoor(ThreadingHTTPServer):
    """:param port: of Placement itself."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__((HOST, 0), _Request)
        self.placement = port
        self.held: Hold | None = None
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"

    def __enter__(self) -> "PlacementDoor":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    @contextlib.contextmanager
    def holding(self, request: str, moment: str) -> Iterator[Hold]:
        """Hold those who ask for it until the end: see :class:`Hold`."""
        hold = self.held = Hold(request, moment)
        try:
            yield hold
        finally:
            self.held = None
            hold.end()


class _Request(BaseHTTPRequestHandler):
    server: PlacementDoor
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hold = self.server.held
        if hold and f"{self.command} {self.path}" == hold.request:
            if hold.moment == "after":
                self._ask(body)
            hold.hold()
            if hold.moment != "awhile":
                self.close_connection = True
                return
        answer, text = self._ask(body)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_DELETE = _pass

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        line = http.client.HTTPConnection(HOST, self.server.placement)
        with contextlib.closing(line):
            line.request(self.command, self.path, body, dict(self.headers.items()))
            answer = line.getresponse()
            return answer, answer.read()

    def handle(self) -> None:
        # Who was killed asks no more.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Placement has a log of its own."""
