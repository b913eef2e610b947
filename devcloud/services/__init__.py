#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
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
