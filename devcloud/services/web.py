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
"""Serve a WSGI application on a socket that somebody else has opened."""

from typing import Any

import waitress

from devcloud.services import Service

THREADS = 8


def serve(service: Service, application: Any, threads: int = THREADS) -> None:
    """Report that the service is ready, and serve for ever."""
    server = waitress.create_server(
        application,
        sockets=[service.listener],
        threads=threads,
        ident=None,
        # A request for the cloud's own machine may take a while: none is cut.
        channel_timeout=600,
    )
    service.report.ready(service.ports.url(service.report.who))
    server.run()
