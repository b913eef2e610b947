# SPDX-License-Identifier: Apache-2.0
"""placement: who has how much of what, traits and allocations."""

import os
from typing import Any

from devcloud.services import Service, schemas, sqlite, web


def run(service: Service) -> None:
    sqlite.take_turns()
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(service.layout.etc("placement"))
    schemas.provide(service, "placement", ["placement"], _application)
    web.serve(service, _application())


def _application() -> Any:
    """Return the API, which migrates its database and writes the standard traits."""
    from placement.wsgi.api import application

    return application
