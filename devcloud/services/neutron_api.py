# SPDX-License-Identifier: Apache-2.0
"""neutron: networks. The API's process, which also makes the database."""

import os
import sys
from typing import Any

from devcloud.config import neutron
from devcloud.multinode.network import DATABASE, RPC
from devcloud.reports import Reporter
from devcloud.services import Service, forked, until, web


def run(service: Service) -> None:
    conf = neutron.conf(service.layout)

    def upgrade() -> object:
        from neutron.db.migration import cli

        command = ["--config-file", str(conf), "upgrade", "heads"]
        sys.argv = ["neutron-db-manage", *command]
        return cli.main()

    service.report.progress("creating the database")
    forked.run("neutron-db-manage upgrade heads", upgrade)
    Reporter(service.report.fd, DATABASE).ready()
    os.environ["OS_NEUTRON_CONFIG_DIR"] = str(conf.parent)
    os.environ["OS_NEUTRON_CONFIG_FILES"] = conf.name
    sys.argv = ["neutron-api"]
    from neutron.wsgi.api import application

    until("neutron-rpc-server answers", _does_rpc_answer)
    Reporter(service.report.fd, RPC).ready()
    nodes = {node.name for node in service.settings.nodes}
    until("the agents of all hosts are up", lambda: _hosts_with_agents() >= nodes)
    web.serve(service, application)


def _does_rpc_answer() -> bool:
    import oslo_messaging
    from neutron_lib import rpc
    from neutron_lib.agent import topics

    target = oslo_messaging.Target(topic=topics.PLUGIN)
    client = oslo_messaging.get_rpc_client(rpc.TRANSPORT, target, timeout=1)
    try:
        return bool(client.call({}, "oslo_rpc_server_ping"))
    except oslo_messaging.MessagingTimeout:
        return False


def _hosts_with_agents() -> set[str]:
    from neutron_lib import context
    from neutron_lib.plugins import directory

    admin: Any = context.get_admin_context()
    agents = directory.get_plugin().get_agents(admin)
    return {agent["host"] for agent in agents if agent["alive"]}
