# SPDX-License-Identifier: Apache-2.0
"""glance-api.conf: images are files of the state folder."""

import shutil
import sys
from pathlib import Path

from devcloud.config import common, ini
from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.settings import CloudSettings


def write(settings: CloudSettings, layout: Layout, ports: Ports) -> None:
    etc, lib = layout.etc("glance"), layout.lib("glance")
    for folder in ("store", "staging", "tasks", "cache"):
        (lib / folder).mkdir(parents=True, exist_ok=True)
    ini.write(
        etc / "glance-api.conf",
        {
            "DEFAULT": {
                "enabled_backends": "fs:file",
                "image_cache_dir": lib / "cache",
                "enabled_import_methods": "[]",
                "worker_self_reference_url": ports.url("glance"),
            },
            "glance_store": {"default_backend": "fs"},
            "fs": {"filesystem_store_datadir": lib / "store"},
            "os_glance_staging_store": {"filesystem_store_datadir": lib / "staging"},
            "os_glance_tasks_store": {"filesystem_store_datadir": lib / "tasks"},
            "database": common.database(layout, "glance"),
            "keystone_authtoken": common.authtoken(settings, ports),
            "paste_deploy": {"flavor": "keystone"},
        },
    )
    paste = "glance-api-paste.ini"
    shutil.copy(Path(sys.prefix, "etc/glance", paste), etc / paste)
