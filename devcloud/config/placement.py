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
