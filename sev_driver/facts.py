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
"""All that is read of a host, before anything is concluded from it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from sev_driver.cpuid import MemoryEncryptionLeaf
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.firmware import FirmwareView
from sev_driver.kvm import VmTypes

#: What oslo.utils takes for true, and so stock Nova in a kernel parameter.
_TRUE = frozenset({"y", "yes", "1", "true", "on", "t"})

_COUNT = re.compile(r"\d{1,10}", re.ASCII)
_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", re.ASCII)

Version = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class KvmParameter:
    """One file below /sys/module/kvm_amd/parameters.

    ``text`` is its content, None where the file does not exist; ``error`` says
    why an existing file could not be read.
    """

    path: str
    text: str | None = None
    error: str | None = None

    @property
    def enabled(self) -> bool:
        return self.text is not None and self.text.strip().lower() in _TRUE

    @property
    def count(self) -> int | None:
        """The parameter as a number; None where it is none, or cannot be read."""
        text = (self.text or "").strip()
        return int(text) if _COUNT.fullmatch(text) else None


@dataclasses.dataclass(frozen=True)
class KvmParameters:
    """The parameters of kvm_amd that concern SEV, under their own names."""

    sev: KvmParameter
    sev_es: KvmParameter
    sev_snp: KvmParameter
    ciphertext_hiding_asids: KvmParameter


@dataclasses.dataclass(frozen=True)
class SevDevice:
    """/dev/sev, by which QEMU talks to the secure processor.

    ``present`` is None where this process cannot tell, as in a container without
    the host's devices; ``access`` says who may open it.
    """

    present: bool | None = None
    access: str = ""


@dataclasses.dataclass(frozen=True)
class Versions:
    """None for each that is not known."""

    libvirt: Version | None = None
    qemu: Version | None = None
    kernel: Version | None = None


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """All that was read of a host.

    Each source but the first four may be unknown: None, or empty.
    ``domain_error`` stands in for ``domain``. ``vendor`` is the processor's, in
    libvirt's words. ``es_beside_snp`` is the operator's word that this host's
    firmware takes SEV-ES guests though SEV-SNP is on.
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


def parse_version(text: str) -> Version | None:
    """Read the numbers at the start of a version such as ``6.12.48+deb13-amd64``."""
    match = _VERSION.match(text)
    if match is None:
        return None
    return int(match[1]), int(match[2] or 0), int(match[3] or 0)


def version_of_number(number: int) -> Version:
    """Read libvirt's way to put a version into a number, such as 10005000."""
    return number // 1_000_000, number // 1000 % 1000, number % 1000


def version_text(version: Version) -> str:
    return ".".join(map(str, version))
