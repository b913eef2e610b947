# SPDX-License-Identifier: Apache-2.0
"""openrc and clouds.yaml: what a client needs to reach the cloud."""

import json
import os
import shlex
from pathlib import Path

from devcloud.config import common
from devcloud.endpoints import Ports
from devcloud.hosts import compute_hosts
from devcloud.layout import Layout
from devcloud.settings import CloudSettings

PLACEMENT_API = "1.39"


def environment(
    settings: CloudSettings, layout: Layout, ports: Ports
) -> dict[str, str]:
    """The variables that the openstack client and virsh read."""
    host, *_ = compute_hosts(settings, layout)
    return {
        "OS_AUTH_URL": ports.url("keystone"),
        "OS_USERNAME": "admin",
        "OS_PASSWORD": settings.password,
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_REGION_NAME": common.REGION,
        "OS_INTERFACE": "public",
        "OS_COMPUTE_API_VERSION": settings.compute_api,
        "OS_PLACEMENT_API_VERSION": PLACEMENT_API,
        # Whatever clouds the user knows besides, this shell is for this one.
        "OS_CLIENT_CONFIG_FILE": str(layout.clouds_yaml),
        "LIBVIRT_DEFAULT_URI": host.uri,
    }


def write(settings: CloudSettings, layout: Layout, ports: Ports) -> None:
    """Both files, readable by the owner only."""
    variables = environment(settings, layout, ports)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    cloud = {
        "auth": {
            "auth_url": ports.url("keystone"),
            "username": "admin",
            "password": settings.password,
            "project_name": "admin",
            "user_domain_id": "default",
            "project_domain_id": "default",
        },
        "region_name": common.REGION,
        "interface": "public",
        "compute_api_version": settings.compute_api,
        "placement_api_version": PLACEMENT_API,
    }
    # JSON is YAML.
    clouds = json.dumps({"clouds": {"devcloud": cloud}}, indent=2)
    for path, text in ((layout.openrc, "\n".join(lines)), (layout.clouds_yaml, clouds)):
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        _give_to_caller(path)


def _give_to_caller(path: Path) -> None:
    """Whoever ran us with sudo is the one to source the file."""
    if {"SUDO_UID", "SUDO_GID"} <= os.environ.keys():
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))
