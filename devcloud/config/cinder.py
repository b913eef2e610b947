# SPDX-License-Identifier: Apache-2.0
"""cinder.conf: two back ends, each with Cinder's NFS driver and a share of its own."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from devcloud.config import common, ini
from devcloud.endpoints import HOST, Ports
from devcloud.layout import Layout
from devcloud.settings import CloudSettings

#: Two, so that a volume can be asked to go to the other. There is a volume type of the
#: same name for each.
BACK_ENDS = ("nfs1", "nfs2")
PROJECT = "cinder"
#: Who starts a privileged helper.
_PRIVSEP = ("cinder_sys_admin", "privsep_osbrick")


def write(
    settings: CloudSettings, layout: Layout, ports: Ports, *, queue: str, database: str
) -> None:
    """Write the file, and make the folders of the shares.

    :param queue: oslo.messaging's transport_url
    :param database: SQLAlchemy's URL
    """
    etc, lib = layout.etc(PROJECT), layout.lib(PROJECT)
    for name in BACK_ENDS:
        _share(layout, name).mkdir(parents=True)
    for name in ("conversion", "coordination"):
        (lib / name).mkdir()
    login = common.credentials(settings, ports)
    sections: dict[str, dict[str, Any]] = {
        "DEFAULT": {
            "transport_url": queue,
            "host": "devcloud",
            "my_ip": HOST,
            "enabled_backends": ",".join(BACK_ENDS),
            "default_volume_type": BACK_ENDS[0],
            "api_paste_config": etc / "api-paste.ini",
            "resource_query_filters_file": etc / "resource_filters.json",
            "state_path": lib,
            "image_conversion_dir": lib / "conversion",
            "glance_api_servers": ports.url("glance"),
            "report_interval": 2,
            "periodic_fuzzy_delay": 0,
        },
        "database": {"connection": database},
        "oslo_concurrency": {"lock_path": lib / "locks"},
        "coordination": {"backend_url": f"file://{lib / 'coordination'}"},
        "keystone_authtoken": common.authtoken(settings, ports),
        "service_user": {**login, "send_service_user_token": True},  # nosec B105  # no password
        # It tells Nova of volumes that have grown, and has it make snapshots.
        "nova": {**login, "interface": "public"},
        **{name: {"helper_command": _helper(layout)} for name in _PRIVSEP},
        **{name: _back_end(layout, name) for name in BACK_ENDS},
    }
    ini.write(conf(layout), sections)
    for name in ("api-paste.ini", "resource_filters.json"):
        shutil.copy(Path(sys.prefix, "etc/cinder", name), etc / name)
    for name in BACK_ENDS:
        (etc / name).write_text(f"{HOST}:{_share(layout, name)}\n")


def conf(layout: Layout) -> Path:
    """The file of all of Cinder's processes."""
    return layout.etc(PROJECT) / "cinder.conf"


def _share(layout: Layout, back_end: str) -> Path:
    return layout.lib(PROJECT) / "shares" / back_end


def _helper(layout: Layout) -> str:
    """We are root, and sudo may be absent."""
    return shlex.join(["privsep-helper", "--config-file", str(conf(layout))])


def _back_end(layout: Layout, name: str) -> dict[str, Any]:
    return {
        "volume_driver": "cinder.volume.drivers.nfs.NfsDriver",
        "volume_backend_name": name,
        "nfs_shares_config": layout.etc(PROJECT) / name,
        "nfs_mount_point_base": layout.lib(PROJECT) / "mounts",
        "nfs_snapshot_support": True,
        # Files belong to root, and all may write to them: libvirt's user among them.
        "nas_secure_file_operations": False,
        "nas_secure_file_permissions": False,
    }
