# SPDX-License-Identifier: Apache-2.0
"""glance: images."""

import functools
import os
import sys
from pathlib import Path

from devcloud.services import Service, forked, schemas, sqlite, web


def run(service: Service) -> None:
    etc = service.layout.etc("glance")
    sqlite.take_turns()
    db_sync = functools.partial(_db_sync, etc)
    schemas.provide(
        service,
        "glance",
        ["glance"],
        lambda: forked.run("glance-manage db_sync", db_sync),
    )

    os.environ["OS_GLANCE_CONFIG_DIR"] = str(etc)
    from glance.wsgi.api import application

    web.serve(service, application)


def _db_sync(etc: Path) -> object:
    from glance.cmd import manage

    sys.argv = ["glance-manage", "--config-file", f"{etc}/glance-api.conf", "db_sync"]
    return manage.main()
