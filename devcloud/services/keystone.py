# SPDX-License-Identifier: Apache-2.0
"""keystone: users, and the catalog of the cloud's services."""

import functools
import os
import uuid

from devcloud.config import common
from devcloud.endpoints import ENDPOINTS
from devcloud.services import Service, forked, schemas, sqlite, web

#: The keys belong to us: there is no user keystone.
AS_ROOT = ("--keystone-user", "root", "--keystone-group", "root")


def run(service: Service) -> None:
    etc = service.layout.etc("keystone")
    sqlite.take_turns()

    from keystone.cmd import cli

    def manage(*command: str) -> None:
        cli.main(["keystone-manage", "--config-file", f"{etc}/keystone.conf", *command])

    keys = [
        forked.start(what, functools.partial(manage, what, *AS_ROOT))
        for what in ("fernet_setup", "credential_setup")
    ]
    db_sync = functools.partial(manage, "db_sync")
    schemas.provide(
        service,
        "keystone",
        ["keystone"],
        lambda: forked.run("keystone-manage db_sync", db_sync),
    )
    for wait in keys:
        wait()

    def bootstrap() -> None:
        manage("bootstrap", "--bootstrap-password", service.settings.password)
        _add_service_user(service.settings.password)
        _fill_catalog(service)

    forked.run("keystone-manage bootstrap", bootstrap)

    os.environ["OS_KEYSTONE_CONFIG_DIR"] = str(etc)
    from keystone.wsgi.api import application

    _load_policy()
    web.serve(service, application)


def _load_policy() -> None:
    """Have it there before the first request.

    Keystone makes it when it is first needed, and shows it to a second thread
    half made: of two services that start at once one gets a status of 500.
    """
    from keystone.common.rbac_enforcer.enforcer import RBACEnforcer

    RBACEnforcer.suppress_deprecation_warnings = True
    RBACEnforcer()._enforcer.load_rules()


def _add_service_user(password: str) -> None:
    """The user as which the services talk to each other."""
    from keystone.common import provider_api

    apis = provider_api.ProviderAPIs
    roles = {role["name"]: role["id"] for role in apis.role_api.list_roles()}
    project_id = uuid.uuid4().hex
    apis.resource_api.create_project(
        project_id,
        {
            "id": project_id,
            "name": common.SERVICE_PROJECT,
            "domain_id": "default",
            "enabled": True,
            "is_domain": False,
            "parent_id": "default",
        },
    )
    user = apis.identity_api.create_user(
        {
            "name": common.SERVICE_USER,
            "password": password,
            "domain_id": "default",
            "enabled": True,
        }
    )
    for role in ("admin", "service"):
        apis.assignment_api.add_role_to_user_and_project(
            user["id"], project_id, roles[role]
        )


def _fill_catalog(service: Service) -> None:
    """One service and its endpoints for each that the cloud has."""
    from keystone.common import provider_api

    catalog = provider_api.ProviderAPIs.catalog_api
    catalog.create_region({"id": common.REGION, "description": ""})
    for name in service.ports.numbers:
        endpoint = ENDPOINTS[name]
        service_id = uuid.uuid4().hex
        catalog.create_service(
            service_id,
            {
                "id": service_id,
                "type": endpoint.service_type,
                "name": name,
                "enabled": True,
            },
        )
        for interface in ("public", "internal"):
            endpoint_id = uuid.uuid4().hex
            catalog.create_endpoint(
                endpoint_id,
                {
                    "id": endpoint_id,
                    "service_id": service_id,
                    "region_id": common.REGION,
                    "interface": interface,
                    "url": service.ports.url(name),
                    "enabled": True,
                },
            )
