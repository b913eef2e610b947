# SPDX-License-Identifier: Apache-2.0
"""The configuration of a libvirtd that leaves the machine's own alone."""

from __future__ import annotations

from devcloud.simhost.layout import LIBVIRTD_LOG
from devcloud.simhost.settings import HostSettings


def qemu_conf(settings: HostSettings) -> str:
    """Guests as root, without what would reach out of the private namespaces."""
    return _lines(
        {
            # Whatever user a distribution runs guests as has no way in here.
            "user": "root",
            "group": "root",
            "remember_owner": 0,
            "security_driver": "none",
            # No virtlogd, no /dev of their own, no control groups, no huge pages.
            "stdio_handler": "file",
            "namespaces": [],
            "cgroup_controllers": [],
            "hugetlbfs_mount": [],
            # A guest that is killed leaves no image of its memory.
            "max_core": 0,
            "remote_display_port_min": settings.remote_display_port_min,
            "remote_display_port_max": settings.remote_display_port_max,
            "migration_port_min": settings.migration_port_min,
            "migration_port_max": settings.migration_port_max,
        }
    )


def libvirtd_conf(uuid: str) -> str:
    """A socket for root alone: who may speak to it may do all that root may."""
    return _lines(
        {
            "auth_unix_rw": "none",
            "auth_unix_ro": "none",
            "unix_sock_rw_perms": "0700",
            "unix_sock_ro_perms": "0700",
            # The machine's own would make two hosts on it the same one.
            "host_uuid": uuid,
            "log_outputs": f"2:file:{LIBVIRTD_LOG}",
        }
    )


def _lines(values: dict[str, str | int | list[str]]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: str | int | list[str]) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'
