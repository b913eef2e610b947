# SPDX-License-Identifier: Apache-2.0
"""nova.conf of the control processes, and one for each compute host."""

import shlex
import shutil
from pathlib import Path

from devcloud.config import ini, nova
from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.multinode.mariadb import MariaDB
from devcloud.multinode.rabbitmq import RabbitMQ
from devcloud.settings import CloudSettings

#: Seconds. A host that is dead must be noticed within a test's patience. One that is
#: slow must not be taken for dead: until its first report, which comes several seconds
#: after it is otherwise ready, Nova counts from when its service was first recorded.
REPORT_INTERVAL, SERVICE_DOWN_TIME = 2, 60


def write(
    settings: CloudSettings,
    layout: Layout,
    ports: Ports,
    *,
    queue: RabbitMQ,
    databases: MariaDB,
) -> None:
    common: ini.Sections = {
        "DEFAULT": {
            "transport_url": queue.url,
            "report_interval": REPORT_INTERVAL,
            "service_down_time": SERVICE_DOWN_TIME,
            # Without them a process that is asked to end takes minutes.
            "graceful_shutdown_timeout": 2,
            "manager_shutdown_timeout": 1,
        },
        "conductor": {"workers": 1},
        "scheduler": {"workers": 1},
    }
    control = {
        name: {"connection": databases.url(database)}
        for name, database in (("database", "nova"), ("api_database", "nova_api"))
    }
    sections = nova.sections(settings, layout, ports, common)
    for name in control:
        del sections[name]  # those of sqlite
    ini.write(control_conf(layout), ini.merged(sections, control))
    for node in settings.nodes:
        conf = host_conf(layout, node.name)
        ini.write(conf, ini.merged(sections, _host(layout, node.name)))
    etc = control_conf(layout).parent
    shutil.copy(nova.api_paste(settings), etc / "api-paste.ini")


def control_conf(layout: Layout) -> Path:
    """Of nova-api, nova-conductor and nova-scheduler."""
    return layout.etc("nova") / "nova.conf"


def host_conf(layout: Layout, node: str) -> Path:
    """Of one host's nova-compute. It names no database: there is none for it."""
    return layout.etc(f"nova-{node}") / "nova.conf"


def _host(layout: Layout, node: str) -> ini.Sections:
    """What a host has for itself.

    The folder of the instances and the address are everybody's. So Nova takes
    the hosts' storage for shared, as it is, and asks for no ssh to copy disks.
    """
    lib = layout.lib(f"nova-{node}")
    lib.mkdir(parents=True, exist_ok=True)
    command = [nova.HELPER, "--config-file", str(host_conf(layout, node))]
    privsep = {"helper_command": shlex.join(command)}
    return {
        "DEFAULT": {"state_path": lib},
        "oslo_concurrency": {"lock_path": lib / "locks"},
        **dict.fromkeys(nova.PRIVSEP, privsep),
    }
