# SPDX-License-Identifier: Apache-2.0
"""What init starts. Each module has ``run(service)`` and one program in it."""

import dataclasses
import socket
import time
from collections.abc import Callable

from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.reports import Reporter
from devcloud.settings import CloudSettings

#: Seconds, on a busy machine.
TIMEOUT = 120.0


@dataclasses.dataclass(frozen=True)
class Service:
    """What a service's process is given."""

    settings: CloudSettings
    layout: Layout
    ports: Ports
    #: Already listening; clients wait in their queues until they are served. Two of
    #: the same port in a cloud with a network of its own: the machine's comes first.
    listeners: list[socket.socket]
    report: Reporter


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for what shows in a database or an answer only: there is no event.

    :raises SystemExit: it does not come about.
    """
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not in {TIMEOUT:.0f} s: {what}")
        time.sleep(0.25)
