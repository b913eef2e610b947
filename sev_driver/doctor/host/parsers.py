# SPDX-License-Identifier: Apache-2.0

"""What files of the kernel and of libvirt say, as far as the doctor asks."""

from __future__ import annotations

import json
import re

from sev_driver.doctor.host.evidence import Memory
from sev_driver.exceptions import DetectionError

# No \s, which goes on over all the empty lines there may be.
_MEMINFO = re.compile(r"^(\w{1,40}):[ \t]+(\d{1,18}) kB$", re.MULTILINE | re.ASCII)
_MEMLOCK = re.compile(
    r"^Max locked memory[ \t]+(\d{1,20}|unlimited)\s", re.MULTILINE | re.ASCII
)
_CAPABILITIES = re.compile(r"^CapEff:[ \t]+([0-9a-f]{1,16})$", re.MULTILINE | re.ASCII)

#: setrlimit's "no limit", as a number that no limit reaches.
UNLIMITED = 1 << 64

#: Settings of qemu.conf that are read; no other value is kept.
_QEMU_CONF = ("user", "group", "namespaces", "security_driver", "dynamic_ownership")


def memory(meminfo: str) -> Memory:
    """Read /proc/meminfo; without huge pages, their number is 0.

    :raises DetectionError: it does not say how much memory there is.
    """
    found = {match[1]: int(match[2]) for match in _MEMINFO.finditer(meminfo)}
    if not found.get("MemTotal") or "MemAvailable" not in found:
        raise DetectionError("it has no MemTotal or no MemAvailable")
    return Memory(found["MemTotal"], found["MemAvailable"], found.get("Hugetlb", 0))


def memlock(limits: str) -> int | None:
    """Return the soft limit in bytes, of a process' /proc/PID/limits."""
    match = _MEMLOCK.search(limits)
    if match is None:
        return None
    return UNLIMITED if match[1] == "unlimited" else int(match[1])


def may_raise_limits(status: str) -> bool | None:
    """Return whether a process has CAP_SYS_RESOURCE, of its /proc/PID/status."""
    match = _CAPABILITIES.search(status)
    return None if match is None else bool(int(match[1], 16) & 1 << 24)


#: Settings of Open vSwitch that are read; no other value is kept.
_OPEN_VSWITCH = ("dpdk-init", "vhost-iommu-support")


def open_vswitch(listed: str) -> dict[str, str]:
    """Return the settings of ``ovs-vsctl --format=json list Open_vSwitch`` that count.

    :raises DetectionError: it is not what ovs-vsctl prints of the one column.
    """
    try:
        kind, settings = json.loads(listed)["data"][0][0]
        found = {str(name): str(value) for name, value in settings}
    except (LookupError, TypeError, ValueError, RecursionError):
        kind, found = "", {}
    if kind != "map":
        raise DetectionError("what ovs-vsctl prints makes no sense")
    return {name: value for name, value in found.items() if name in _OPEN_VSWITCH}


def sift_open_vswitch(listed: str) -> bytes:
    """Return ``listed`` with the settings that are kept."""
    settings = [list(setting) for setting in open_vswitch(listed).items()]
    return json.dumps({"data": [[["map", settings]]]}).encode()


def sift_qemu_conf(text: bytes) -> bytes:
    """Return the settings of /etc/libvirt/qemu.conf that are kept."""
    found = qemu_conf(text.decode("utf-8", "replace"))
    return "".join(f'{name} = "{value}"\n' for name, value in found.items()).encode()


def qemu_conf(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() in _QEMU_CONF:
            found[name.strip()] = value.partition("#")[0].strip().strip('"')
    return found
