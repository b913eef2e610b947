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
"""keystone.conf."""

from devcloud.config import common, ini
from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.settings import CloudSettings


def write(settings: CloudSettings, layout: Layout, ports: Ports) -> None:
    keys = layout.etc("keystone")
    ini.write(
        keys / "keystone.conf",
        {
            "DEFAULT": {"public_endpoint": ports.url("keystone").removesuffix("/v3")},
            "database": common.database(layout, "keystone"),
            "token": {"provider": "fernet"},
            "fernet_tokens": {"key_repository": keys / "fernet-keys"},
            "fernet_receipts": {"key_repository": keys / "fernet-keys"},
            "credential": {"key_repository": keys / "credential-keys"},
            # Every client command logs in anew: a real hash would take a
            # third of a second each time.
            "identity": {"password_hash_rounds": 4},  # nosec B105  # no password
            # In the process's own memory, which is enough for one process.
            "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
        },
    )
