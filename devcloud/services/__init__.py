# SPDX-License-Identifier: Apache-2.0
"""What init starts. Each module has ``run(service)`` and one program in it."""

import dataclasses
import socket

from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.reports import Reporter
from devcloud.settings import CloudSettings


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
