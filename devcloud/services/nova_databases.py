# SPDX-License-Identifier: Apache-2.0
"""What nova-manage does for a first installation, with one cell."""

import sys

from devcloud.services import Service, forked


def create(service: Service, *cell0: str) -> None:
    """Fill the databases, and let Nova know where they are.

    Without options for it, cell0's is the one whose name is nova.conf's with
    _cell0 after it.
    """
    from nova.cmd import manage

    conf = f"{service.layout.etc('nova')}/nova.conf"

    def nova_manage(*command: str) -> None:
        def main() -> object:
            sys.argv = ["nova-manage", "--config-file", conf, *command]
            return manage.main()

        forked.run(" ".join(("nova-manage", *command)), main)

    service.report.progress("creating the databases")
    nova_manage("api_db", "sync")
    nova_manage("cell_v2", "map_cell0", *cell0)
    nova_manage("db", "sync")
    nova_manage("cell_v2", "create_cell", "--name", "cell1")
