# SPDX-License-Identifier: Apache-2.0
"""Nova in one process: API, conductor, scheduler and compute.

The parts are Nova's own and talk over oslo.messaging as ever; only its
transport is the in-memory one, and the database is sqlite. Both want one
process, and one process starts four times as fast.
"""

import os
import shlex

from devcloud import libvirt_compat
from devcloud.services import Service, nova_api, nova_databases, sqlite, web
from devcloud.services.host_mappings import map_hosts
from devcloud.services.nova_api import COMPUTE


def run(service: Service) -> None:
    if service.settings.multinode:
        nova_api.run(service)
        return
    # Native threads, as nova-compute has them; nova-manage would take eventlet,
    # and who comes first decides for the process.
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
    _create_databases(service)
    os.environ["OS_NOVA_CONFIG_DIR"] = str(service.layout.etc("nova"))
    # Reads the configuration, sets up logging, messaging and objects.
    from nova.wsgi.osapi_compute import application

    _prepare_compute()
    if service.settings.mend_loader and libvirt_compat.accept_loader_secure():
        service.report.progress(libvirt_compat.ACCEPTED)
    for binary in ("nova-conductor", "nova-scheduler"):
        _start(service, binary)
    _start(service, COMPUTE)
    _map_hosts()
    web.serve(service, application)


def _create_databases(service: Service) -> None:
    sqlite.take_turns()
    # One that starts again has its databases, and its cells in them.
    if not service.layout.database("nova").exists():
        nova_databases.create_files(service)


def _prepare_compute() -> None:
    """What nova-compute's own main function does before it starts."""
    import os_brick
    import os_vif
    from nova import objects, utils
    from nova.conf import CONF
    from oslo_privsep import priv_context

    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    os_brick.setup(CONF)
    os_vif.initialize()
    objects.Service.enable_min_version_cache()


def _start(service: Service, binary: str) -> None:
    from nova import service as nova_service
    from nova.compute import rpcapi

    service.report.progress(f"starting {binary}")
    # Newer Nova's compute listens on a second topic while it shuts down.
    second = getattr(rpcapi, "RPC_TOPIC_ALT", None) if binary == COMPUTE else None
    more = {"topic_alt": second} if second else {}
    nova_service.Service.create(binary=binary, **more).start()


def _map_hosts() -> None:
    """Let the scheduler know the compute host, and see that it is a whole one.

    nova-compute starts even when it cannot report what it has. A cloud in
    which nothing can be built is not ready.
    """
    from nova import context, objects
    from nova.scheduler.client import report

    map_hosts()
    admin = context.get_admin_context()
    placement = report.report_client_singleton()
    nodes = objects.ComputeNodeList.get_all(admin)
    if not any(placement.get_providers_in_tree(admin, node.uuid) for node in nodes):
        raise SystemExit("nova-compute could not report its host: see above why")
