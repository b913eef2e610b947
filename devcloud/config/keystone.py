# SPDX-License-Identifier: Apache-2.0
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
