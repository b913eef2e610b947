# SPDX-License-Identifier: Apache-2.0
"""nova.conf: one file for Nova's API, scheduler, conductor and compute."""

import shlex
import shutil
from pathlib import Path
from typing import Any

from devcloud.config import common, ini
from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.settings import CloudSettings

#: The one in PATH, where that of the Nova which starts it comes first.
HELPER = "privsep-helper"
#: Who starts a privileged helper: Nova itself, os-brick, and os-vif.
PRIVSEP = ("nova_sys_admin", "privsep_osbrick", "vif_plug_ovs_privileged")

#: Seconds for Neutron to say that a port is plugged, on a busy machine.
PLUGGING_TIMEOUT = 120
#: MiB that guests can have, from files that a switch can map as well: Nova's way where
#: there are no huge pages.
SHARED_MEMORY = 4096


def write(settings: CloudSettings, layout: Layout, ports: Ports) -> None:
    etc = layout.etc("nova")
    (layout.lib("nova") / "instances").mkdir(parents=True, exist_ok=True)
    ini.write(etc / "nova.conf", sections(settings, layout, ports))
    shutil.copy(api_paste(settings), etc / "api-paste.ini")


def api_paste(settings: CloudSettings) -> Path:
    """The file of that name which comes with Nova."""
    return settings.python().parents[1] / "etc/nova/api-paste.ini"


def sections(
    settings: CloudSettings, layout: Layout, ports: Ports, *layers: ini.Sections
) -> dict[str, dict[str, Any]]:
    """All options; layers may change ours, and the cloud's settings any."""
    return ini.merged(
        _process(layout),
        _databases(layout),
        _neighbours(settings, ports),
        _compute(settings, layout),
        *layers,
        {"libvirt": {"file_backed_memory": SHARED_MEMORY}}
        if settings.vhost_user
        else {},
        settings.nova,
    )


def _process(layout: Layout) -> ini.Sections:
    """All of Nova in one process: messages never leave it."""
    return {
        "DEFAULT": {
            "transport_url": "fake:///",
            "state_path": layout.lib("nova"),
            "my_ip": "127.0.0.1",
            "report_interval": 5,
            # Wait for no random delay before the first periodic task.
            "periodic_fuzzy_delay": 0,
        },
        "oslo_concurrency": {"lock_path": layout.lib("nova") / "locks"},
        "scheduler": {"discover_hosts_in_cells_interval": 10},
        "cache": {"enabled": False},
    }


def _databases(layout: Layout) -> ini.Sections:
    return {
        "api_database": common.database(layout, "nova_api"),
        "database": common.database(layout, "nova"),
    }


def _neighbours(settings: CloudSettings, ports: Ports) -> ini.Sections:
    """How Nova reaches the other services, and checks who reaches it."""
    login = common.credentials(settings, ports)
    return {
        "keystone_authtoken": common.authtoken(settings, ports),
        "service_user": {**login, "send_service_user_token": True},  # nosec B105  # no password
        "placement": login,
        "keystone": login,
        "glance": {"service_type": "image", "region_name": common.REGION},
        "neutron": {**login, "service_metadata_proxy": False},
        # The stand-in never says that a port is plugged.
        "DEFAULT": {
            "vif_plugging_is_fatal": bool(settings.network),
            "vif_plugging_timeout": PLUGGING_TIMEOUT if settings.network else 0,
        },
    }


def _compute(settings: CloudSettings, layout: Layout) -> ini.Sections:
    return {
        "DEFAULT": {
            "compute_driver": settings.driver,
            "instances_path": layout.lib("nova") / "instances",
            # The machine is a developer's or a test runner's: nothing is
            # kept back for host services, and guests are small.
            "reserved_host_memory_mb": 0,
            "reserved_host_disk_mb": 0,
            "ram_allocation_ratio": 1.0,
            "cpu_allocation_ratio": 32.0,
            # A guest without an operating system ignores the power button.
            "shutdown_timeout": 1,
        },
        "libvirt": {"virt_type": "kvm", "wait_soft_reboot_seconds": 2},
        # No graphical consoles: they would need ports that clouds can share.
        "vnc": {"enabled": False},
        "spice": {"enabled": False},
        **dict.fromkeys(PRIVSEP, _privsep(layout)),
    }


def _privsep(layout: Layout) -> dict[str, Any]:
    """Start privileged helpers directly: we are root, and sudo may be absent."""
    conf = layout.etc("nova") / "nova.conf"
    return {"helper_command": shlex.join([HELPER, "--config-file", str(conf)])}
