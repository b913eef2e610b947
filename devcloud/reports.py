# SPDX-License-Identifier: Apache-2.0
"""One JSON line an event: what init and the services tell whoever waits."""

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(frozen=True)
class Report:
    """Something that happened while the cloud starts."""

    #: "cloud" for init itself, else the name of a service, and so of its log.
    who: str
    #: "progress", "ready" or "failed".
    event: str
    text: str = ""


class Reporter:
    """Writes reports to a pipe; a line is short enough to be written at once."""

    def __init__(self, fd: int, who: str) -> None:
        self.fd = fd
        self.who = who

    def progress(self, text: str) -> None:
        self._write("progress", text)

    def ready(self, text: str = "") -> None:
        self._write("ready", text)

    def failed(self, text: str) -> None:
        self._write("failed", text)

    def pass_on(self, report: Report) -> None:
        os.write(self.fd, _line(dataclasses.asdict(report)))

    def _write(self, event: str, text: str) -> None:
        self.pass_on(Report(self.who, event, text[:2000]))


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


class ReportReader:
    """Cuts what comes out of the pipe into reports again."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""

    def read(self) -> list[Report] | None:
        """What has come in; None once every writer is gone."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [Report(**json.loads(line)) for line in lines]

    def __iter__(self) -> Iterator[Report]:
        while (reports := self.read()) is not None:
            yield from reports
