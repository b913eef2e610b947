# SPDX-License-Identifier: Apache-2.0
"""placement: who has how much of what, traits and allocations."""

import os

from devcloud.services import Service, sqlite, web


def run(service: Service) -> None:
    sqlite.create([service.layout.database("placement")])
    sqlite.take_turns()
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(service.layout.etc("placement"))
    service.report.progress("creating the database")
    from placement.wsgi.api import application

    web.serve(service, application)
