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
"""Reads what only the doctor needs of the kernel, and of libvirt's files."""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import re
import subprocess
from collections.abc import Callable
from typing import TypeVar

from sev_driver import files, kernel
from sev_driver.doctor import texts
from sev_driver.doctor.evidence import (
    Daemon,
    Fact,
    Iommu,
    Opening,
    Processor,
    SecureProcessor,
)
from sev_driver.exceptions import DetectionError
from sev_driver.source import Source, decoded

Value = TypeVar("Value")

_DAEMONS = ("/run/libvirtd.pid", "/run/virtqemud.pid")
_CCP = "/sys/bus/pci/drivers/ccp"
_PSP_ATTRIBUTES = ("tsme_status", "fused_part", "bootloader_version", "tee_version")
_PCI = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_PID = re.compile(r"\s*(\d{1,9})\s*", re.ASCII)

#: No host has more groups of devices worth a look.
_GROUPS = 256
#: More than one processor takes.
_PROCESSOR_BYTES = 16 * 1024
_DMESG_SECONDS = 20.0


def fact(read: Callable[[], Value | None]) -> Fact[Value]:
    """Return what ``read`` finds, or why it cannot."""
    try:
        return Fact(read())
    except FileNotFoundError:
        return Fact()
    except OSError as error:
        return Fact(unknown=error.strerror or str(error))
    except DetectionError as error:
        return Fact(unknown=str(error))


def file(of: Source, path: str, parse: Callable[[str], Value]) -> Fact[Value]:
    return fact(lambda: parse(files.read(of, path).decode("utf-8", "replace")))


def text(of: Source, what: str, read: Callable[[], bytes]) -> str:
    """Return an answer that is always there, or nothing."""
    try:
        return of.ask(what, read).decode("utf-8", "replace")
    except (OSError, DetectionError):
        return ""


def reader() -> bytes:
    """Return the name of the user that reads."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name.encode()
    except KeyError:
        return str(os.geteuid()).encode()


def processor(of: Source) -> Fact[Processor]:
    """Return the first one; they are all alike."""

    def read() -> Processor:
        cpuinfo = files.read(of, "/proc/cpuinfo", _PROCESSOR_BYTES)
        return texts.processor(cpuinfo.decode("utf-8", "replace"))

    return fact(read)


def command_line(of: Source) -> str:
    kept = of.ask("asked/kernel/command-line", _command_line)
    return kept.decode("utf-8", "replace")


def _command_line() -> bytes:
    with open("/proc/cmdline", "rb") as file:
        return texts.sift_command_line(file.read(files.FILE_BYTES))


def iommu(of: Source) -> Iommu:
    groups = files.names(of, "/sys/kernel/iommu_groups")
    types = set()
    for group in groups[:_GROUPS]:
        path = f"/sys/kernel/iommu_groups/{group}/type"
        kind = file(of, path, str.strip).value
        if kind:
            types.add(kind)
    units = len(fact(lambda: files.names(of, "/sys/class/iommu")).value or ())
    return Iommu(units, len(groups), frozenset(types))


def secure_processor(of: Source) -> SecureProcessor:
    devices = [name for name in files.names(of, _CCP) if _PCI.fullmatch(name)]
    found = {}
    for device in devices:
        for name in _PSP_ATTRIBUTES:
            value = file(of, f"{_CCP}/{device}/{name}", str.strip).value
            if value is not None:
                found[name] = value
    return SecureProcessor(tuple(devices), found)


def sev_opening(of: Source) -> Opening:
    """Open /dev/sev and close it: nothing is asked of the secure processor by that."""
    found = decoded(of.ask("asked/devices/sev", _open_sev))
    if [type(each) for each in found] != [str, bool]:
        raise OSError(0, "what was written down of it makes no sense")
    return Opening(*found)


def _open_sev() -> bytes:
    path, error = kernel.DEVICES / "sev", ""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise
    except OSError as failure:
        error = failure.strerror or str(failure)
    nodev = bool(os.statvfs(path).f_flag & os.ST_NODEV)
    return json.dumps([error, nodev]).encode()


def kernel_log(of: Source) -> tuple[str, ...]:
    kept = of.ask("asked/kernel/log", _kernel_log)
    return tuple(kept.decode("utf-8", "replace").splitlines())


def _kernel_log() -> bytes:
    """Return the lines that concern SEV; mostly root alone may read any."""
    try:
        run = subprocess.run(
            ["dmesg"],
            capture_output=True,
            check=False,
            timeout=_DMESG_SECONDS,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise DetectionError(f"dmesg was not done in {_DMESG_SECONDS} s") from None
    if run.returncode:
        raise DetectionError(run.stderr.strip()[:200] or "dmesg failed")
    return "\n".join(texts.concerning(run.stdout)).encode()


def daemon(of: Source) -> Daemon | None:
    """Return the daemon that starts QEMU; None where none has left its number."""
    for path in _DAEMONS:
        found = file(of, path, _PID.fullmatch).value
        if found is None:
            continue
        pid = int(found[1])
        limits = file(of, f"/proc/{pid}/limits", texts.memlock).value
        raises = file(of, f"/proc/{pid}/status", texts.may_raise_limits).value
        return Daemon(pathlib.Path(path).stem, pid, limits, raises)
    return None


def qemu_conf(of: Source) -> dict[str, str]:
    kept = of.ask("asked/libvirt/qemu.conf", _qemu_conf)
    return texts.qemu_conf(kept.decode("utf-8", "replace"))


def _qemu_conf() -> bytes:
    with open("/etc/libvirt/qemu.conf", "rb") as conf:
        return texts.sift_qemu_conf(conf.read(files.FILE_BYTES))
