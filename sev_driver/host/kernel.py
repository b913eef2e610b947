# SPDX-License-Identifier: Apache-2.0

"""Read the kernel's facts of SEV: parameters, devices, CPUID, control groups.

A file that this process may not read is unknown, not absent.
"""

from __future__ import annotations

import fcntl
import functools
import io
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from sev_driver.exceptions import DetectionError
from sev_driver.host import cpuid, facts, files, kernel_log
from sev_driver.host.facts import (
    Iommu,
    KvmParameter,
    KvmParameters,
    SevDevice,
    SystemFacts,
    Version,
    parse_version,
)
from sev_driver.host.files import LOCAL, Source
from sev_driver.host.processor import Processor, Topology
from sev_driver.model import SEV_SNP

_Value = TypeVar("_Value")

KVM_PARAMETERS = pathlib.Path("/sys/module/kvm_amd/parameters")
DEVICES = pathlib.Path("/dev")
KERNEL_LOG = DEVICES / "kmsg"
#: The kernel's list of misc devices, which does not depend on a container's /dev.
MISC_DEVICES = pathlib.Path("/sys/class/misc")
#: The root of the misc controller, for versions 2 and 1 of control groups.
CONTROL_GROUPS = (
    pathlib.Path("/sys/fs/cgroup"),
    pathlib.Path("/sys/fs/cgroup/misc"),
)

#: The PCI devices that ccp, the driver of the secure processor, drives.
PSP_DRIVER = pathlib.Path("/sys/bus/pci/drivers/ccp")
MODULES = pathlib.Path("/sys/module")
PROC = pathlib.Path("/proc")
IOMMU_GROUPS = pathlib.Path("/sys/kernel/iommu_groups")
IOMMUS = pathlib.Path("/sys/class/iommu")

#: The most that is read of a file; the kernel's files are shorter.
_FILE_BYTES = 4096
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
_CPUS = "/sys/devices/system/cpu"
_CPU = re.compile(r"cpu\d{1,5}", re.ASCII)
_PCI = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
#: More than one processor takes in /proc/cpuinfo.
_PROCESSOR_BYTES = 16 * 1024
#: No host has more groups of devices that matter.
_GROUPS = 256
#: The kernel's log is no longer, whatever log_buf_len says.
_LOG_BYTES = 16 * 1024 * 1024
#: A record of the kernel's log is no longer.
RECORD_BYTES = 8192


def read_kvm_parameter(name: str, of: Source = LOCAL) -> KvmParameter:
    """Read a parameter of the module kvm_amd, such as ``sev``."""
    path = f"{KVM_PARAMETERS}/{name}"
    try:
        return _kvm_parameter(path, files.read_attribute(of, path))
    except FileNotFoundError:
        return KvmParameter(path)
    except OSError as error:
        return KvmParameter(path, error=error.strerror or str(error))


@functools.lru_cache(maxsize=16)
def _kvm_parameter(path: str, content: bytes) -> KvmParameter:
    return KvmParameter(path, text=content.decode("ascii", "replace"))


def read_kvm_parameters(of: Source = LOCAL) -> KvmParameters:
    """Read all parameters of kvm_amd that concern SEV."""
    return KvmParameters(
        sev=read_kvm_parameter("sev", of),
        sev_es=read_kvm_parameter("sev_es", of),
        sev_snp=read_kvm_parameter("sev_snp", of),
        ciphertext_hiding_asids=read_kvm_parameter("ciphertext_hiding_asids", of),
    )


def read_sev_device(of: Source = LOCAL) -> SevDevice:
    """Return whether /dev/sev exists, and who may open it.

    A container may not show the host's /dev. So the device counts as missing only if
    the kernel's list of misc devices lacks it, too.
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


def read_cpuid(of: Source = LOCAL) -> cpuid.MemoryEncryptionLeaf | None:
    """Read the first processor's leaf; None if it cannot be read, or does not exist.

    Usually only root may read it.
    """
    device = str(DEVICES / "cpu/0/cpuid")
    try:
        if not cpuid.has_leaf(files.read_device(of, device, 16, cpuid.HIGHEST_LEAF)):
            return None
        record = files.read_device(of, device, 16, cpuid.LEAF)
        return cpuid.MemoryEncryptionLeaf.from_record(record)
    except (OSError, DetectionError):
        return None


def read_misc_capacity(of: Source = LOCAL) -> Mapping[str, int]:
    """Read the capacity of the misc controller; empty if it cannot be read.

    Only the host's root group has the file, which containers do not see.
    """
    return _read_misc("misc.capacity", of)


def read_misc_current(of: Source = LOCAL) -> Mapping[str, int]:
    """Read the usage of the misc controller; empty if it cannot be read.

    Older kernels do not have the file in the root group.
    """
    return _read_misc("misc.current", of)


def _read_misc(name: str, of: Source) -> Mapping[str, int]:
    for folder in CONTROL_GROUPS:
        try:
            return _parse_misc(files.read_attribute(of, f"{folder}/{name}"))
        except (OSError, DetectionError):
            continue
    return {}


@functools.lru_cache(maxsize=4)  # it is read with each update of Placement
def _parse_misc(content: bytes) -> Mapping[str, int]:
    return facts.parse_misc(content.decode("ascii", "replace"))


def read_vm_types(of: Source = LOCAL) -> facts.VmTypes | None:
    """Query /dev/kvm for the types of guest that it offers; None if it does not say."""
    try:
        text = of.read("asked/kvm/vm-types", _ask_vm_types).decode("ascii", "replace")
    except OSError:
        return None
    return facts.VmTypes(int(text)) if _NUMBER.fullmatch(text) else None


def _ask_vm_types() -> bytes:
    device = os.open(DEVICES / "kvm", os.O_RDWR | os.O_CLOEXEC)
    try:
        version = fcntl.ioctl(device, facts.GET_API_VERSION, 0)
        if version != facts.API_VERSION:
            return b"no answer"
        bits = fcntl.ioctl(device, facts.CHECK_EXTENSION, facts.CAP_VM_TYPES)
        return str(bits).encode()
    finally:
        os.close(device)


def read_memory_mib() -> int:
    """Return the RAM of this host in MiB, as libvirt computes it."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)


def read_kernel_version(of: Source = LOCAL) -> Version | None:
    """Return the version of the running kernel, None if unknown."""
    try:
        release = of.read("asked/kernel/release", lambda: os.uname().release.encode())
    except OSError:
        return None
    return parse_version(release.decode("ascii", "replace"))


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


def read_system(of: Source = LOCAL, *, with_iommu: bool = True) -> SystemFacts:
    """Read the facts that explain why something is off or missing; None if unknown.

    :param with_iommu: true to read the IOMMU groups, of which there are many.
    """
    return SystemFacts(
        processor=_or_none(lambda: read_processor(of)),
        command_line=_or_none(lambda: read_command_line(of)),
        kernel_log=_or_none(lambda: read_kernel_log(of)),
        modules=_or_none(lambda: frozenset(files.names(of, str(MODULES)))),
        psp_devices=_or_none(lambda: read_psp_devices(of)),
        iommu=_or_none(lambda: read_iommu(of)) if with_iommu else None,
    )


def _or_none(read: Callable[[], _Value]) -> _Value | None:
    try:
        return read()
    except (OSError, DetectionError):
        return None


def read_processor(of: Source = LOCAL) -> Processor:
    """Read the first processor. All processors of a host are equal.

    :raises OSError: /proc/cpuinfo cannot be read.
    """
    cpuinfo = files.read(of, str(PROC / "cpuinfo"), _PROCESSOR_BYTES)
    return Processor.parse(cpuinfo.decode("utf-8", "replace"))


def read_topology(of: Source = LOCAL) -> Topology:
    """Return whether SMT is on, and the number of processors (Linux, sysfs)."""
    active = {"0": False, "1": True}
    return Topology(
        active.get(_read_text(of, f"{_CPUS}/smt/active").strip()),
        _or_none(lambda: _count_sockets(of)) or None,
    )


def _count_sockets(of: Source) -> int:
    cpus = [name for name in files.names(of, _CPUS) if _CPU.fullmatch(name)]
    paths = (f"{_CPUS}/{cpu}/topology/physical_package_id" for cpu in cpus)
    # A processor that is offline has no topology.
    return len({_read_text(of, path) for path in paths} - {""})


def read_command_line(of: Source = LOCAL) -> str:
    """Read the words of the kernel's command line that concern SEV.

    :raises OSError: the command line cannot be read.
    """

    def read() -> bytes:
        return sift_command_line(files.read(LOCAL, str(PROC / "cmdline")))

    return of.read("asked/kernel/command-line", read).decode("utf-8", "replace")


def read_kernel_log(of: Source = LOCAL) -> tuple[str, ...]:
    """Read the lines of the kernel's log that concern SEV.

    :raises OSError: the log cannot be read. On most systems only root may read it.
    """

    def read() -> bytes:
        return "\n".join(kernel_log.concerning(_read_kmsg())).encode()

    text = of.read("asked/kernel/log", read).decode("utf-8", "replace")
    return tuple(text.splitlines())


def read_psp_failure(of: Source = LOCAL, earlier: str | None = None) -> str | None:
    """Return the log's line about a failure of the secure processor, else None.

    :param earlier: the line that was found before. The kernel may have overwritten it,
        so it counts until a later line says that the secure processor works.
    """
    lines = _or_none(lambda: read_kernel_log(of)) or ()
    known = () if earlier is None else (earlier,)
    return kernel_log.psp_failure((*known, *lines), SEV_SNP)


def open_kernel_log() -> io.FileIO:
    """Open the kernel's log at its beginning; at its end, a read returns None at once.

    :raises OSError: the log cannot be read.
    """
    # Not by os.read: eventlet's, in Nova 33 and older, waits at the end of the log.
    return io.FileIO(os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))


def _read_kmsg() -> str:
    """Read the kernel's log; return it in the format of dmesg.

    Each read returns a record such as "6,339,5140900,-;text". Further lines of a record
    begin with a space (Documentation/ABI/testing/dev-kmsg).
    """
    lines: list[str] = []
    left = _LOG_BYTES
    with open_kernel_log() as log:
        while left > 0:
            left -= RECORD_BYTES
            try:
                records = log.read(RECORD_BYTES)
            except BrokenPipeError:
                continue  # The record was overwritten: the next read finds another.
            if not records:
                break
            left += RECORD_BYTES - len(records)
            lines += _log_lines(records.decode("utf-8", "replace"))
    return "\n".join(lines)


def _log_lines(records: str) -> Iterator[str]:
    for line in records.splitlines():
        prefix, semicolon, text = line.partition(";")
        fields = prefix.split(",")
        if not semicolon or len(fields) < 3 or not _NUMBER.fullmatch(fields[0]):
            continue
        time = int(fields[2]) if fields[2].isdecimal() else 0
        yield f"[{time // 1_000_000:5}.{time % 1_000_000:06}] {text}"


def read_psp_devices(of: Source = LOCAL) -> tuple[str, ...]:
    """Return the PCI devices of the module ccp.

    :raises OSError: the module is not loaded.
    """
    return tuple(n for n in files.names(of, str(PSP_DRIVER)) if _PCI.fullmatch(n))


def _read_text(of: Source, path: str) -> str:
    """Return a file's text, empty if it cannot be read."""
    try:
        return files.read(of, path, _FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def read_iommu(of: Source = LOCAL) -> Iommu:
    """Read the kernel's IOMMUs and their groups.

    :raises OSError: the groups cannot be read.
    """
    groups = files.names(of, str(IOMMU_GROUPS))
    types = set()
    for group in groups[:_GROUPS]:
        kind = _read_text(of, f"{IOMMU_GROUPS}/{group}/type").strip()
        if kind:
            types.add(kind)
    units = _or_none(lambda: files.names(of, str(IOMMUS)))
    return Iommu(len(units or ()), len(groups), frozenset(types))
