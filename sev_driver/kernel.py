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
import os
import pathlib
import re
from collections.abc import Mapping

from sev_driver import cpuid, files, kvm, misc_cgroup
from sev_driver.exceptions import DetectionError
from sev_driver.facts import (
    KvmParameter,
    KvmParameters,
    SevDevice,
    Version,
    parse_version,
)
from sev_driver.files import HERE
from sev_driver.source import Source

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
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)


def read_kvm_parameter(name: str, of: Source = HERE) -> KvmParameter:
    """Return a parameter of the module kvm_amd, such as ``sev``."""
    path = str(KVM_PARAMETERS / name)
    try:
        text = files.read(of, path, _FILE_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        return KvmParameter(path)
    except OSError as error:
        return KvmParameter(path, error=error.strerror or str(error))
    return KvmParameter(path, text=text)


def read_kvm_parameters(of: Source = HERE) -> KvmParameters:
    return KvmParameters(
        sev=read_kvm_parameter("sev", of),
        sev_es=read_kvm_parameter("sev_es", of),
        sev_snp=read_kvm_parameter("sev_snp", of),
        ciphertext_hiding_asids=read_kvm_parameter("ciphertext_hiding_asids", of),
    )


def read_sev_device(of: Source = HERE) -> SevDevice:
    """Return whether there is a /dev/sev, and who may open it.

    It is missing only where neither /dev nor the kernel's own list has it: a
    container may show the one and not the other.
    """
    try:
        return SevDevice(True, str(files.status(of, str(DEVICES / "sev"))))
    except FileNotFoundError:
        return SevDevice(_listed("sev", of))
    except OSError:
        return SevDevice()


def _listed(device: str, of: Source) -> bool | None:
    try:
        return device in files.names(of, str(MISC_DEVICES))
    except OSError:
        return None


def read_cpuid(of: Source = HERE) -> cpuid.MemoryEncryptionLeaf | None:
    """Return the leaf of the first processor; mostly root alone may read it."""
    device = str(DEVICES / "cpu/0/cpuid")
    try:
        if not cpuid.has_leaf(files.read(of, device, 16, cpuid.HIGHEST_LEAF)):
            return None
        record = files.read(of, device, 16, cpuid.LEAF)
        return cpuid.MemoryEncryptionLeaf.from_record(record)
    except (OSError, DetectionError):
        return None


def read_misc_capacity(of: Source = HERE) -> Mapping[str, int]:
    """Return the capacity of the misc controller, empty where it cannot be read.

    Only the host's root group has the file; a container has none.
    """
    return _read_misc("misc.capacity", of)


def read_misc_current(of: Source = HERE) -> Mapping[str, int]:
    """Return what is in use of that, empty where it cannot be read.

    Older kernels have the file in all groups but the root.
    """
    return _read_misc("misc.current", of)


def _read_misc(name: str, of: Source) -> Mapping[str, int]:
    for folder in CONTROL_GROUPS:
        try:
            text = files.read(of, str(folder / name), _FILE_BYTES)
            return misc_cgroup.parse(text.decode("ascii", "replace"))
        except (OSError, DetectionError):
            continue
    return {}


def read_vm_types(of: Source = HERE) -> kvm.VmTypes | None:
    """Ask /dev/kvm for the kinds of guest that it offers."""
    try:
        text = of.ask("asked/kvm/vm-types", _ask_vm_types).decode("ascii", "replace")
    except OSError:
        return None
    return kvm.VmTypes(int(text)) if _NUMBER.fullmatch(text) else None


def _ask_vm_types() -> bytes:
    device = os.open(DEVICES / "kvm", os.O_RDWR | os.O_CLOEXEC)
    try:
        version = fcntl.ioctl(device, kvm.GET_API_VERSION, 0)
        if version != kvm.API_VERSION:
            return b"no answer"
        bits = fcntl.ioctl(device, kvm.CHECK_EXTENSION, kvm.CAP_VM_TYPES)
        return str(bits).encode()
    finally:
        os.close(device)


def read_memory_mib() -> int:
    """Return the RAM of this host in MiB, as libvirt counts it."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)


def read_kernel_version(of: Source = HERE) -> Version | None:
    try:
        release = of.ask("asked/kernel/release", lambda: os.uname().release.encode())
    except OSError:
        return None
    return parse_version(release.decode("ascii", "replace"))
