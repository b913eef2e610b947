# SPDX-License-Identifier: Apache-2.0
"""placement.conf."""

from devcloud.config import common, ini
from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.settings import CloudSettings


def write(settings: CloudSettings, layout: Layout, ports: Ports) -> None:
    ini.write(
        layout.etc("placement") / "placement.conf",
        {
            "api": {"auth_strategy": "keystone"},
            "placement_database": {
                **common.database(layout, "placement"),
                "sync_on_startup": True,
            },
            "keystone_authtoken": common.authtoken(settings, ports),
        },
    )
