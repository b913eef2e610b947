# SPDX-License-Identifier: Apache-2.0
"""glance: images."""

import os
import sys

from devcloud.services import Service, forked, sqlite, web


def run(service: Service) -> None:
    etc = service.layout.etc("glance")
    sqlite.create([service.layout.database("glance")])
    sqlite.take_turns()

    from glance.cmd import manage

    def db_sync() -> object:
        sys.argv = [
            "glance-manage",
            "--config-file",
            f"{etc}/glance-api.conf",
            "db_sync",
        ]
        return manage.main()

    service.report.progress("creating the database")
    forked.run("glance-manage db_sync", db_sync)

    os.environ["OS_GLANCE_CONFIG_DIR"] = str(etc)
    from glance.wsgi.api import application

    web.serve(service, application)
