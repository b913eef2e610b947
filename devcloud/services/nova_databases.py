# SPDX-License-Identifier: Apache-2.0
"""What nova-manage does for a first installation, with one cell."""

import sys

from devcloud.services import Service, forked, schemas, sqlite


def create(service: Service) -> None:
    """Fill the databases of a server, and let Nova know where they are."""
    service.report.progress("creating the databases")
    _manage(service, "api_db", "sync")
    _manage(service, "cell_v2", "map_cell0")
    _manage(service, "db", "sync")
    _create_cell(service)


def create_files(service: Service) -> None:
    """Do the same with sqlite, by copies of what an earlier cloud has kept."""

    def migrate() -> None:
        _manage(service, "api_db", "sync")
        _manage(service, "db", "sync", "--local_cell")

    schemas.provide(service, "nova", ["nova_api", "nova"], migrate)
    cell0 = service.layout.database("nova_cell0")
    sqlite.copy(service.layout.database("nova"), cell0)
    # nova-manage's own guess of its name would come after the query.
    url = f"sqlite:///{cell0}?timeout=60"
    _manage(service, "cell_v2", "map_cell0", "--database_connection", url)
    _create_cell(service)


def _create_cell(service: Service) -> None:
    _manage(service, "cell_v2", "create_cell", "--name", "cell1")


def _manage(service: Service, *command: str) -> None:
    from nova.cmd import manage

    conf = f"{service.layout.etc('nova')}/nova.conf"

    def main() -> object:
        sys.argv = ["nova-manage", "--config-file", conf, *command]
        return manage.main()

    forked.run(" ".join(("nova-manage", *command)), main)
