# SPDX-License-Identifier: Apache-2.0
"""A host with every generation of SEV, to change one fact at a time."""

import dataclasses

from sev_driver.host.capabilities import ModelCapability
from sev_driver.host.cpuid import MemoryEncryptionLeaf
from sev_driver.host.detection import detect
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import (
    HostFacts,
    KvmParameter,
    KvmParameters,
    SevDevice,
    Versions,
    VmTypes,
)
from sev_driver.host.firmware import FirmwareDescriptor, FirmwareView
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
SEV_ES = MemoryEncryptionModel.AMD_SEV_ES
SEV_SNP = MemoryEncryptionModel.AMD_SEV_SNP

FOLDER = "/sys/module/kvm_amd/parameters"

OVMF = FirmwareDescriptor(
    "/usr/share/OVMF/OVMF.amdsev.fd",
    "memory",
    frozenset({"uefi"}),
    ("pc-q35-*",),
    frozenset({"amd-sev", "amd-sev-es", "amd-sev-snp"}),
)
VIEW = FirmwareView(("/usr/share/qemu/firmware", "/etc/qemu/firmware"), (OVMF,))


def parameter(
    name: str = "sev", text: str | None = None, error: str | None = None
) -> KvmParameter:
    return KvmParameter(f"{FOLDER}/{name}", text=text, error=error)


def parameters(**texts: str | None) -> KvmParameters:
    """SEV, SEV-ES and SEV-SNP are on; None is a file that does not exist."""
    found = {"sev": "Y", "sev_es": "Y", "sev_snp": "Y", "ciphertext_hiding_asids": None}
    return KvmParameters(
        **{name: parameter(name, text) for name, text in (found | texts).items()}
    )


#: 410 ASIDs of SEV and 99 of SEV-ES and SEV-SNP, on a kernel that tells.
EVERYTHING = HostFacts(
    virt_type="kvm",
    arch="x86_64",
    parameters=parameters(),
    domain=DomainCapabilities(True, 410, 99, frozenset({"sev", "sev-snp"})),
    vendor="AMD",
    device=SevDevice(True, "root:root 0600"),
    cpuid=MemoryEncryptionLeaf(0x1A, 0x173, 509, 100),
    misc_capacity={"sev": 410, "sev_es": 99},
    vm_types=VmTypes(0b11101),
    versions=Versions((12, 8, 0), (11, 1, 0), (7, 2, 0)),
    firmware=VIEW,
)

#: What an unprivileged process sees on an old host.
SEV_ALONE = HostFacts(
    virt_type="kvm",
    arch="x86_64",
    parameters=parameters(sev="Y\n", sev_es=None, sev_snp=None),
    domain=DomainCapabilities(sev=True, max_guests=15, max_es_guests=0),
)


def judged(
    model: MemoryEncryptionModel, facts: HostFacts = EVERYTHING, **changes: object
) -> ModelCapability:
    """Return the verdict on ``facts`` with ``changes``."""
    return detect(dataclasses.replace(facts, **changes))[model]  # type: ignore[arg-type]
