#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
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
