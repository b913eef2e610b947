# SPDX-License-Identifier: Apache-2.0

"""Reads what only the doctor needs of the kernel, and of libvirt's files."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import pwd
import re
import shutil
from collections.abc import Callable
from typing import TypeVar

from sev_driver import measurement
from sev_driver.doctor.host import parsers, programs
from sev_driver.doctor.host.evidence import (
    Daemon,
    Fact,
    FirmwareContents,
    Opening,
    SecureProcessor,
)
from sev_driver.exceptions import DetectionError
from sev_driver.host import files, guest_firmware, kernel
from sev_driver.host.files import Source, decoded
from sev_driver.host.processor import Processor
from sev_driver.model import MemoryEncryptionModel

Value = TypeVar("Value")

_DAEMONS = ("/run/libvirtd.pid", "/run/virtqemud.pid")
_PSP_ATTRIBUTES = ("tsme_status", "fused_part", "bootloader_version", "tee_version")
_PID = re.compile(r"\s*(\d{1,9})\s*", re.ASCII)


#: Longer than ovs-vsctl itself waits.
_OVS_SECONDS = 10.0


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
        return of.read(what, read).decode("utf-8", "replace")
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
    return fact(lambda: kernel.read_processor(of))


def secure_processor(of: Source) -> SecureProcessor:
    devices = kernel.read_psp_devices(of)
    found = {}
    for device in devices:
        for name in _PSP_ATTRIBUTES:
            value = file(of, f"{kernel.PSP_DRIVER}/{device}/{name}", str.strip).value
            if value is not None:
                found[name] = value
    return SecureProcessor(devices, found)


def sev_opening(of: Source) -> Opening:
    """Open /dev/sev and close it: nothing is asked of the secure processor by that."""
    found = decoded(of.read("asked/devices/sev", _open_sev))
    if [type(each) for each in found] != [str, bool]:
        raise OSError(0, "its value in the archive is malformed")
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


def firmware_contents(of: Source, path: str) -> FirmwareContents:
    """Return what a guest firmware's file has for SEV.

    An archive gets no more of the file: it has several MiB.
    """
    what = f"asked/guest-firmware{path}"
    found = decoded(of.read(what, lambda: _firmware_contents(path)))
    if [type(each) for each in found] != [str, bool, list]:
        raise OSError(0, "its value in the archive is malformed")
    sha256, has_sev_metadata, models = found
    return FirmwareContents(
        sha256,
        has_sev_metadata,
        frozenset(model for model in MemoryEncryptionModel if model.value in models),
    )


def _firmware_contents(path: str) -> bytes:
    found = guest_firmware.read(path)
    models = [m.value for m in MemoryEncryptionModel if found.measures_kernel(m)]
    sha256 = measurement.file_digest(path)
    return json.dumps([sha256, found.has_sev_metadata, models]).encode()


def daemon(of: Source) -> Daemon | None:
    """Return the daemon that starts QEMU; None where none has left its number."""
    for path in _DAEMONS:
        found = file(of, path, _PID.fullmatch).value
        if found is None:
            continue
        pid = int(found[1])
        limits = file(of, f"/proc/{pid}/limits", parsers.memlock).value
        raises = file(of, f"/proc/{pid}/status", parsers.may_raise_limits).value
        return Daemon(pathlib.Path(path).stem, pid, limits, raises)
    return None


def qemu_conf(of: Source) -> dict[str, str]:
    kept = of.read("asked/libvirt/qemu.conf", _qemu_conf)
    return parsers.qemu_conf(kept.decode("utf-8", "replace"))


def _qemu_conf() -> bytes:
    return parsers.sift_qemu_conf(files.read(files.LOCAL, "/etc/libvirt/qemu.conf"))


def open_vswitch(of: Source) -> dict[str, str]:
    kept = of.read("asked/network/open-vswitch", _open_vswitch)
    return parsers.open_vswitch(kept.decode("utf-8", "replace"))


def _open_vswitch() -> bytes:
    """Return the settings of Open vSwitch that are kept.

    :raises FileNotFoundError: this host has no ovs-vsctl.
    """
    command = shutil.which("ovs-vsctl", path=programs.SYSTEM_PATH)
    if command is None:
        raise FileNotFoundError(errno.ENOENT, "there is no ovs-vsctl")
    query = ("--format=json", "--columns=other_config", "list", "Open_vSwitch")
    run = programs.run([command, "--timeout=5", *query], _OVS_SECONDS)
    if run.status:
        raise DetectionError(run.stderr.strip()[:200] or "ovs-vsctl failed")
    return parsers.sift_open_vswitch(run.stdout)
