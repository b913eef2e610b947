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
    #: Already listening; clients wait in its queue until it is served.
    listener: socket.socket
    report: Reporter
