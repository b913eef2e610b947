# SPDX-License-Identifier: Apache-2.0

"""The facts of a host, as data. No conclusions."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Final

from sev_driver.exceptions import MalformedMisc
from sev_driver.host.cpuid import MemoryEncryptionLeaf
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.firmware import FirmwareView
from sev_driver.host.processor import Processor
from sev_driver.model import MemoryEncryptionModel

#: The words that oslo_utils.strutils takes for true. Nova uses it for the parameters,
#: flavors and images. Copied, because this package runs without oslo.utils.
_TRUE = frozenset({"y", "yes", "1", "true", "on", "t"})

_COUNT = re.compile(r"\d{1,10}", re.ASCII)
_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", re.ASCII)

Version = tuple[int, int, int]

#: The values of [libvirt] virt_type whose guests can be encrypted.
VIRT_TYPES: Final = ("kvm", "qemu")


def is_true(text: str) -> bool:
    """Return whether Nova takes ``text`` for true."""
    return text.strip().lower() in _TRUE


@dataclasses.dataclass(frozen=True)
class KvmParameter:
    """One file below /sys/module/kvm_amd/parameters.

    ``text`` is its content, None if the file does not exist; ``error`` says why an
    existing file could not be read.
    """

    path: str
    text: str | None = None
    error: str | None = None

    @property
    def enabled(self) -> bool:
        """True if the parameter is on; False also if it cannot be read."""
        return self.text is not None and is_true(self.text)

    @property
    def count(self) -> int | None:
        """The parameter as a number; None if it is not a number or cannot be read."""
        text = (self.text or "").strip()
        return int(text) if _COUNT.fullmatch(text) else None


@dataclasses.dataclass(frozen=True)
class KvmParameters:
    """The parameters of kvm_amd that concern SEV."""

    sev: KvmParameter
    sev_es: KvmParameter
    sev_snp: KvmParameter
    ciphertext_hiding_asids: KvmParameter


@dataclasses.dataclass(frozen=True)
class SevDevice:
    """/dev/sev, through which QEMU uses the secure processor.

    ``present`` is None if unknown, for example in a container without the host's
    devices; ``access`` is the file's owner and mode.
    """

    present: bool | None = None
    access: str = ""


@dataclasses.dataclass(frozen=True)
class Versions:
    """Versions of libvirt, QEMU and the kernel; None if unknown."""

    libvirt: Version | None = None
    qemu: Version | None = None
    kernel: Version | None = None


@dataclasses.dataclass(frozen=True)
class Iommu:
    """``units`` is how many the kernel uses, ``groups`` how many groups of devices.

    ``types`` are the kinds of their domains, such as DMA-FQ, or identity where the
    devices are passed through.
    """

    units: int
    groups: int
    types: frozenset[str]


@dataclasses.dataclass(frozen=True)
class SystemFacts:
    """Facts that explain why something is off or missing; each is None if unknown.

    ``kernel_log`` and ``command_line`` have only the parts that concern SEV.
    ``psp_devices`` are the PCI devices of the module ccp.
    """

    processor: Processor | None = None
    command_line: str | None = None
    kernel_log: tuple[str, ...] | None = None
    modules: frozenset[str] | None = None
    psp_devices: tuple[str, ...] | None = None
    iommu: Iommu | None = None


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """All facts of a host. Each but the first three can be unknown: None or empty.

    ``domain_error`` says why ``domain`` is unknown. ``vendor`` is the processor's, as
    libvirt names it. ``es_beside_snp`` is true if the operator states that the SEV
    firmware accepts SEV-ES guests while SEV-SNP is enabled.
    """

    virt_type: str
    arch: str
    parameters: KvmParameters
    domain: DomainCapabilities | None = None
    domain_error: str | None = None
    vendor: str = ""
    device: SevDevice = SevDevice()
    cpuid: MemoryEncryptionLeaf | None = None
    misc_capacity: Mapping[str, int] = dataclasses.field(default_factory=dict)
    vm_types: VmTypes | None = None
    versions: Versions = Versions()
    firmware: FirmwareView | None = None
    es_beside_snp: bool = False
    system: SystemFacts = SystemFacts()


def parse_version(text: str) -> Version | None:
    """Return the numbers at the start of a version such as ``6.12.48+deb13-amd64``."""
    match = _VERSION.match(text)
    if match is None:
        return None
    return int(match[1]), int(match[2] or 0), int(match[3] or 0)


def version_of_number(number: int) -> Version:
    """Return the version that libvirt reports as a number, such as 10005000."""
    return number // 1_000_000, number // 1000 % 1000, number % 1000


def version_text(version: Version) -> str:
    return ".".join(map(str, version))


#: Keys of the misc control group: plain SEV's ASIDs, and those that SEV-ES and
#: SEV-SNP share.
MISC_SEV: Final = "sev"
MISC_SEV_ES: Final = "sev_es"

_LINE = re.compile(r"([!-~]{1,64}) (max|\d{1,19})", re.ASCII)


def parse_misc(text: str) -> Mapping[str, int]:
    """Return the numbers in ``misc.capacity`` or ``misc.current``, by key.

    A missing key means "unknown": the kernel omits a capacity of zero, and a kernel
    without SEV, or in a virtual machine, has no keys.

    :raises MalformedMisc: a line is not a key and a number.
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise MalformedMisc(
                f"misc control group: {line[:40]!r} is not a key and a number"
            )
        if match[2] != "max":
            found[match[1]] = int(match[2])
    return found


#: KVM_CHECK_EXTENSION, and its argument KVM_CAP_VM_TYPES.
CHECK_EXTENSION: Final = 0xAE03
CAP_VM_TYPES: Final = 235

#: KVM_GET_API_VERSION, and the only version that a real KVM returns.
GET_API_VERSION: Final = 0xAE00
API_VERSION: Final = 12

_BITS: Final = {
    MemoryEncryptionModel.AMD_SEV: 1 << 2,
    MemoryEncryptionModel.AMD_SEV_ES: 1 << 3,
    MemoryEncryptionModel.AMD_SEV_SNP: 1 << 4,
}


@dataclasses.dataclass(frozen=True)
class VmTypes:
    """The types of guest that KVM offers, one bit each (KVM_CAP_VM_TYPES).

    Kernels older than 6.10, and kernels in virtual machines, set no bit of SEV even if
    SEV works: without such a bit, nothing is known.
    """

    bits: int

    @property
    def reports_sev(self) -> bool:
        """True if a bit of any SEV model is set."""
        return any(self.bits & bit for bit in _BITS.values())

    def offers(self, model: MemoryEncryptionModel) -> bool | None:
        """Return whether KVM offers guests of ``model``; None if unknown."""
        return bool(self.bits & _BITS[model]) if self.reports_sev else None
