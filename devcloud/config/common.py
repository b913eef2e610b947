# SPDX-License-Identifier: Apache-2.0
"""What every service's configuration says alike."""

from typing import Any

from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.settings import CloudSettings

REGION = "RegionOne"
SERVICE_USER = "service"
SERVICE_PROJECT = "service"


def database(layout: Layout, name: str) -> dict[str, Any]:
    """A sqlite file; ``devcloud.services.sqlite`` orders its writers."""
    return {
        "connection": f"sqlite:///{layout.database(name)}?timeout=60",
        "sqlite_synchronous": False,
    }


def credentials(settings: CloudSettings, ports: Ports) -> dict[str, Any]:
    """How the services' own user logs in."""
    return {
        "auth_type": "password",
        "auth_url": ports.url("keystone"),
        "username": SERVICE_USER,
        "password": settings.password,
        "project_name": SERVICE_PROJECT,
        "user_domain_id": "default",
        "project_domain_id": "default",
        "region_name": REGION,
    }


def authtoken(settings: CloudSettings, ports: Ports) -> dict[str, Any]:
    """keystonemiddleware's section of a service that checks tokens."""
    return {
        **credentials(settings, ports),
        "www_authenticate_uri": ports.url("keystone"),
        "service_type": "",
        "service_token_roles_required": True,  # nosec B105  # no password
    }
