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
"""What the kernel tells of SEV: parameters, devices, CPUID, control groups.

Each reader takes what this process may read. What it may not read is unknown,
never absent.
"""

from __future__ import annotations

import fcntl
import functools
import grp
import os
import pathlib
import pwd
import stat
from collections.abc import Mapping

from sev_driver import cpuid, kvm, misc_cgroup
from sev_driver.exceptions import DetectionError
from sev_driver.facts import (
    KvmParameter,
    KvmParameters,
    SevDevice,
    Version,
    parse_version,
)

KVM_PARAMETERS = pathlib.Path("/sys/module/kvm_amd/parameters")
DEVICES = pathlib.Path("/dev")
#: The kernel's own list of such devices, whatever /dev a container was given.
MISC_DEVICES = pathlib.Path("/sys/class/misc")
#: Where the misc controller of the whole host is, by version of control groups.
CONTROL_GROUPS = (
    pathlib.Path("/sys/fs/cgroup"),
    pathlib.Path("/sys/fs/cgroup/misc"),
)

#: As long as no such file of the kernel is; more of one is never read.
_FILE_BYTES = 4096


def read_kvm_parameter(name: str) -> KvmParameter:
    """Return a parameter of the module kvm_amd, such as ``sev``."""
    path = KVM_PARAMETERS / name
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return KvmParameter(str(path), text=file.read(_FILE_BYTES))
    except FileNotFoundError:
        return KvmParameter(str(path))
    except OSError as error:
        return KvmParameter(str(path), error=error.strerror or str(error))


def read_kvm_parameters() -> KvmParameters:
    return KvmParameters(
        sev=read_kvm_parameter("sev"),
        sev_es=read_kvm_parameter("sev_es"),
        sev_snp=read_kvm_parameter("sev_snp"),
        ciphertext_hiding_asids=read_kvm_parameter("ciphertext_hiding_asids"),
    )


def read_sev_device() -> SevDevice:
    """Return whether there is a /dev/sev, and who may open it.

    It is missing only where neither /dev nor the kernel's own list has it: a
    container may show the one and not the other.
    """
    try:
        found = os.stat(DEVICES / "sev")
    except FileNotFoundError:
        return SevDevice(_listed("sev"))
    except OSError:
        return SevDevice()
    mode = stat.S_IMODE(found.st_mode)
    owner, group = _user(found.st_uid), _group(found.st_gid)
    return SevDevice(True, f"{owner}:{group} {mode:04o}")


def _listed(device: str) -> bool | None:
    try:
        return device in os.listdir(MISC_DEVICES)
    except OSError:
        return None


@functools.cache
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@functools.cache
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def read_cpuid() -> cpuid.MemoryEncryptionLeaf | None:
    """Return the leaf of the first processor; mostly root alone may read it."""
    try:
        device = os.open(DEVICES / "cpu/0/cpuid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not cpuid.has_leaf(os.pread(device, 16, cpuid.HIGHEST_LEAF)):
            return None
        record = os.pread(device, 16, cpuid.LEAF)
        return cpuid.MemoryEncryptionLeaf.from_record(record)
    except (OSError, DetectionError):
        return None
    finally:
        os.close(device)


def read_misc_capacity() -> Mapping[str, int]:
    """Return the capacity of the misc controller, empty where it cannot be read.

    Only the host's root group has the file; a container has none.
    """
    return _read_misc("misc.capacity")


def read_misc_current() -> Mapping[str, int]:
    """Return what is in use of that, empty where it cannot be read.

    Older kernels have the file in all groups but the root.
    """
    return _read_misc("misc.current")


def _read_misc(name: str) -> Mapping[str, int]:
    for folder in CONTROL_GROUPS:
        try:
            with (folder / name).open("rb") as file:
                text = file.read(_FILE_BYTES).decode("ascii", "replace")
            return misc_cgroup.parse(text)
        except (OSError, DetectionError):
            continue
    return {}


def read_vm_types() -> kvm.VmTypes | None:
    """Ask /dev/kvm for the kinds of guest that it offers."""
    try:
        device = os.open(DEVICES / "kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if fcntl.ioctl(device, kvm.GET_API_VERSION, 0) != kvm.API_VERSION:
            return None
        return kvm.VmTypes(fcntl.ioctl(device, kvm.CHECK_EXTENSION, kvm.CAP_VM_TYPES))
    except OSError:
        return None
    finally:
        os.close(device)


def read_kernel_version() -> Version | None:
    return parse_version(os.uname().release)
