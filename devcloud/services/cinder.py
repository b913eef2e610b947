# SPDX-License-Identifier: Apache-2.0
"""cinder: volumes. The API's process, which also makes the database and the types."""

import sys
import time
from typing import Any

from devcloud.config import cinder
from devcloud.multinode.volumes import DATABASE
from devcloud.reports import Reporter
from devcloud.services import Service, forked, web

TIMEOUT = 120.0


def run(service: Service) -> None:
    conf = str(cinder.conf(service.layout))

    def db_sync() -> object:
        from cinder.cmd import manage

        sys.argv = ["cinder-manage", "--config-file", conf, "db", "sync"]
        return manage.main()

    service.report.progress("creating the database")
    forked.run("cinder-manage db sync", db_sync)
    sys.argv = ["cinder-api", "--config-file", conf]
    from cinder.wsgi.api import application

    _make_types()
    Reporter(service.report.fd, DATABASE).ready()
    _await_back_ends()
    web.serve(service, application)


def _make_types() -> None:
    """One for each back end."""
    from cinder.volume import volume_types

    for name in cinder.BACK_ENDS:
        specs = {"volume_backend_name": name}
        volume_types.create(_admin(), name, extra_specs=specs)


def _await_back_ends() -> None:
    """There is no event to wait for: it shows in the database only."""
    from cinder import objects

    deadline = time.monotonic() + TIMEOUT
    while True:
        services = objects.ServiceList.get_all_by_binary(_admin(), "cinder-volume")
        up = {s.host.partition("@")[2] for s in services if s.is_up}
        if up >= set(cinder.BACK_ENDS):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"not in {TIMEOUT:.0f} s: all of {cinder.BACK_ENDS} up")
        time.sleep(0.25)


def _admin() -> Any:
    from cinder import context

    return context.get_admin_context()
