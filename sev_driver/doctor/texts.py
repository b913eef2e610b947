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
"""What files of the kernel and of libvirt say, as far as the doctor asks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sev_driver.doctor.evidence import Memory, Processor
from sev_driver.exceptions import DetectionError

# No \s, which goes on over all the empty lines there may be.
_MEMINFO = re.compile(r"^(\w{1,40}):[ \t]+(\d{1,18}) kB$", re.MULTILINE | re.ASCII)
_MEMLOCK = re.compile(
    r"^Max locked memory[ \t]+(\d{1,20}|unlimited)\s", re.MULTILINE | re.ASCII
)
_CAPABILITIES = re.compile(r"^CapEff:[ \t]+([0-9a-f]{1,16})$", re.MULTILINE | re.ASCII)

#: Lines of the kernel's log that concern SEV.
_CONCERNS = re.compile(r"\b(SEV|SNP|SME|RMP|ccp|PSP|AMD-Vi|iommu|kvm_amd)\b|/dev/sev\b")
#: Lines that tell the kernel's command line, or words of it, whatever stands there.
_TELLS_COMMAND_LINE = re.compile(r"command line|kernel parameters?\b", re.IGNORECASE)

#: setrlimit's "no limit", as a number that no limit reaches.
UNLIMITED = 1 << 64

#: Settings of qemu.conf that are looked at; of no other the value is kept.
_QEMU_CONF = ("user", "group", "namespaces", "security_driver", "dynamic_ownership")


#: Parameters of the kernel's command line that are kept.
_COMMAND_LINE = re.compile(
    r"(?:(?:amd_)?iommu(?:\.\w+)?|mem_encrypt|sev|(?:kvm_amd|kvm|ccp)\.\w+"
    r"|modprobe\.blacklist|module_blacklist|lsm|apparmor|selinux|enforcing"
    r"|hugepages|hugepagesz|default_hugepagesz)(?:=\S{0,200})?"
)


def sift_command_line(text: bytes) -> bytes:
    """Return the parameters that concern SEV; of no other the value is kept."""
    words = text.decode("utf-8", "replace").split()
    # The kernel takes a hyphen in a name for an underscore.
    kept = (w for w in words if _COMMAND_LINE.fullmatch(w.replace("-", "_")))
    return " ".join(kept).encode()


def processor(cpuinfo: str) -> Processor:
    """Read the first processor of /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return Processor(
        fields.get("vendor_id", ""),
        _number(fields.get("cpu family")),
        _number(fields.get("model")),
        fields.get("model name", ""),
        frozenset(fields.get("flags", "").split()),
    )


def _number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,6}", text, re.ASCII) else 0


def memory(meminfo: str) -> Memory:
    """Read /proc/meminfo; a kernel without huge pages tells of none.

    :raises DetectionError: it does not tell how much there is.
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


def concerning(log: str) -> Iterable[str]:
    """Return the lines of the kernel's log that concern SEV.

    None that tells the command line: passwords stand there, and what concerns SEV is
    kept by :func:`sift_command_line`.
    """
    return [
        line
        for line in log.splitlines()
        if _CONCERNS.search(line) and not _TELLS_COMMAND_LINE.search(line)
    ]


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
