# SPDX-License-Identifier: Apache-2.0
"""Nova's API in a cloud with several hosts, where it is a process of its own.

It has access to Nova's databases. So it makes them, and it is the one to see
how far the other Nova processes are.
"""

import os
from typing import Any

from devcloud.reports import Reporter
from devcloud.services import Service, nova_databases, until, web
from devcloud.services.host_mappings import map_hosts

DATABASES, CONDUCTOR = "nova-databases", "nova-conductor"
COMPUTE = "nova-compute"


def run(service: Service) -> None:
    # See devcloud.services.nova.
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
    nova_databases.create(service)
    _report_ready(service, DATABASES)
    os.environ["OS_NOVA_CONFIG_DIR"] = str(service.layout.etc("nova"))
    application = _application()
    # nova-compute's first word is to the conductor. If nobody hears it, it
    # says it again ten seconds later.
    until("nova-conductor has started", _is_conductor_there)
    _report_ready(service, CONDUCTOR)
    nodes = {node.name for node in service.settings.nodes}
    until("all hosts have reported what they have", lambda: _reported() == nodes)
    until("all hosts are up for Nova", lambda: _up() >= nodes)
    map_hosts()
    web.serve(service, application)


def _application() -> Any:
    try:
        from nova.wsgi.osapi_compute import application
    except ImportError:  # Nova 30 and older have no module for each
        from nova.api.openstack import wsgi_app

        return wsgi_app.init_application("osapi_compute")
    return application


def _report_ready(service: Service, what: str) -> None:
    Reporter(service.report.fd, what).ready()


def _is_conductor_there() -> bool:
    from nova import context, objects

    admin = context.get_admin_context()
    return bool(objects.ServiceList.get_by_binary(admin, CONDUCTOR))


def _reported() -> set[str]:
    """The hosts of which Placement knows everything.

    Traits are what a host reports last, of itself and of its child providers.
    """
    from nova import context, objects
    from nova.scheduler.client import report

    admin = context.get_admin_context()
    placement = report.report_client_singleton()

    def complete(node: objects.ComputeNode) -> bool:
        providers = placement.get_providers_in_tree(admin, node.uuid)
        uuids = [provider["uuid"] for provider in providers]
        traits = [placement.get_provider_traits(admin, uuid) for uuid in uuids]
        return bool(traits) and all(known.traits for known in traits)

    nodes = objects.ComputeNodeList.get_all(admin)
    return {node.host for node in nodes if complete(node)}


def _up() -> set[str]:
    """The hosts to which the scheduler would now send a server."""
    from nova import context, objects, servicegroup

    admin = context.get_admin_context()
    group = servicegroup.API()
    services = objects.ServiceList.get_by_binary(admin, COMPUTE)
    return {service.host for service in services if group.service_is_up(service)}
