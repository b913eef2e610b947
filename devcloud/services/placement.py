# SPDX-License-Identifier: Apache-2.0
"""placement: who has how much of what, traits and allocations."""

import os

from devcloud.services import Service, schemas, sqlite, web


def run(service: Service) -> None:
    databases = [service.layout.database("placement")]
    kept = schemas.restore("placement", databases)
    sqlite.take_turns()
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(service.layout.etc("placement"))
    if not kept:
        service.report.progress("creating the database")
    # It migrates its database, and writes the standard traits into it.
    from placement.wsgi.api import application

    if not kept:
        schemas.keep("placement", databases)
    web.serve(service, application)
