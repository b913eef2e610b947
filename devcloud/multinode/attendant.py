# SPDX-License-Identifier: Apache-2.0
"""Keeps processes, and starts and ends them when it is asked to."""

import os
import selectors
import signal
import time
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path
from typing import NoReturn

from devcloud.children import Children, Death
from devcloud.layout import Layout
from devcloud.multinode.control import ControlError, ControlSocket, Request

#: For a process that was asked to end, before it is killed.
PATIENCE = 8.0


class Attendant(ABC):
    """The first process of a cloud or of a host, once it is up."""

    layout: Layout
    children: Children
    events: selectors.DefaultSelector

    def listen(self, path: Path) -> None:
        """From now on take requests; ``stay`` does them."""
        self.requests: deque[Request] = deque()
        control = ControlSocket(path)

        def accept() -> list[Death]:
            self.requests.append(control.accept())
            return []

        self.events.register(control, selectors.EVENT_READ, accept)

    def stay(self) -> NoReturn:
        """Reap for ever, do what is asked, and write down who ended unasked."""
        while True:
            for death in self._deaths_within(None):
                line = f"{time.ctime()}: {death.name} {death.how}"
                with self.layout.deaths.open("a") as file:
                    print(line, file=file)
            while self.requests:
                self._serve(self.requests.popleft())

    @abstractmethod
    def start_process(self, name: str) -> None:
        """Start it; return when that is all there is to do."""

    def target(self, name: str) -> int | None:
        """Whom to signal for that name; None when it does not run."""
        return self.children.pid(name)

    def act(self, action: str, name: str) -> None:
        """Do what is asked; return when it is done."""
        match action:
            case "start" if self.target(name):
                raise ControlError("it runs already")
            case "start":
                self.start_process(name)
            case "stop":
                self._end(name, signal.SIGTERM)
            case "kill":
                self._end(name, signal.SIGKILL)
            case _:
                raise ControlError("not one of start, stop, kill")

    def _serve(self, request: Request) -> None:
        try:
            self.act(request.action, request.name)
        except Exception as exc:
            request.answer(f"{type(exc).__name__}: {exc}")
        else:
            request.answer()

    def _end(self, name: str, number: signal.Signals) -> None:
        """Send the signal and wait for the end, which then is none to report."""
        pid = self.target(name)
        if pid is None:
            raise ControlError("it does not run")
        os.kill(pid, number)
        deadline = time.monotonic() + PATIENCE
        while self.children.pid(name):
            self._deaths_within(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline and (pid := self.target(name)):
                os.kill(pid, signal.SIGKILL)
                deadline += PATIENCE

    def _deaths_within(self, timeout: float | None) -> list[Death]:
        """Wait for something to happen, or so long; return who died of it."""
        ready = self.events.select(timeout)
        return [death for key, _ in ready for death in key.data()]
