# SPDX-License-Identifier: Apache-2.0
"""Serve a WSGI application on sockets that somebody else has opened."""

from typing import Any

import waitress

from devcloud.services import Service

THREADS = 8


def serve(service: Service, application: Any, threads: int = THREADS) -> None:
    """Report that the service is ready, and serve for ever."""
    server = waitress.create_server(
        application,
        sockets=service.listeners,
        threads=threads,
        ident=None,
        # A request for the cloud's own machine may take a while: none is cut.
        channel_timeout=600,
    )
    service.report.ready(service.ports.url(service.report.who))
    server.run()
