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
"""What the firmware set-up of the machine has on: SME, ASIDs, IOMMU, SEV-SNP.

The names of the settings are those of AMD's reference firmware (AMD CBS), which most
vendors keep; the paths differ. The kernel tells what is off, by the flags of the
processor that it leaves out (arch/x86/kernel/cpu/amd.c) and by its log.
"""

from __future__ import annotations

from sev_driver import slot_counts
from sev_driver.capabilities import Obstacle
from sev_driver.doctor import processor_checks
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check
from sev_driver.doctor.tree import Judgement, Node, failed, passed, skipped
from sev_driver.facts import Version
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
SNP = MemoryEncryptionModel.AMD_SEV_SNP

_CPU = "AMD CBS > CPU Common Options"
_NBIO = "AMD CBS > NBIO Common Options"
#: A parameter that is missing is the kernel's matter.
_OFF = frozenset({Obstacle.PARAMETER_OFF})

#: The first kernel that takes the flag sev_snp away where there is no RMP table.
_TELLS_OF_RMP: Version = (6, 9, 0)


def _sme(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    if evidence.switched_on(SEV):
        return passed("on: else kvm_amd would not have SEV on")
    processor = evidence.processor.value
    if processor is None or not processor.flags:
        return skipped(f"/proc/cpuinfo: {evidence.processor.unknown or 'no flags'}")
    missing = [flag for flag in ("sme", "sev") if flag not in processor.flags]
    if not missing:
        return passed("the processor has the flags sme and sev")
    seen = f"the kernel shows no flag {' or '.join(missing)} of the processor"
    remedy = (
        f"set SMEE to Enabled in the firmware set-up ({_CPU}), and SEV Control where "
        "there is one"
    )
    if "hypervisor" in processor.flags:
        seen += ", which is that of a virtual machine"
        remedy = f"use a machine of its own; there, {remedy}"
    return failed(seen, remedy)


def _asids(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    counts = slot_counts.count(evidence.facts)
    count = counts.sev if model is SEV else counts.shared
    if count is None:
        return skipped("neither CPUID 0x8000001F, misc.capacity nor libvirt tells")
    whose = "plain SEV" if model is SEV else "SEV-ES and SEV-SNP"
    if count.number > 0:
        return passed(f"{count.number} for {whose} ({count.source})")
    capability = evidence.capabilities[model]
    seen = f"no ASID is left for {whose} ({count.source}: {count.number})"
    if capability.obstacle is Obstacle.NO_SLOTS:
        seen = capability.reason
    limit = "a lower number" if model is SEV else _limit(counts.sev)
    return failed(
        seen,
        f"set SEV-ES ASID Space Limit Control to Manual and SEV-ES ASID Space Limit to "
        f"{limit} in the firmware set-up ({_CPU})",
    )


def _limit(plain: slot_counts.Count | None) -> str:
    """Return a limit that leaves ASIDs for both, of a host where all are plain SEV's.

    The ASIDs below the limit are those of SEV-ES and SEV-SNP.
    """
    if plain is None or plain.number < 3:
        return "a higher number"
    return f"a number such as {min(100, plain.number // 2 + 1)}"


def _iommu(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    if evidence.switched_on(SNP):
        return passed("on: else kvm_amd would not have SEV-SNP on")
    iommu = evidence.iommu
    if iommu.unknown:
        return skipped(f"/sys/kernel/iommu_groups: {iommu.unknown}")
    if iommu.value is None or not (iommu.value.units or iommu.value.groups):
        return failed(
            "the kernel uses no IOMMU",
            f"set IOMMU to Enabled in the firmware set-up ({_NBIO}), and take "
            "amd_iommu=off and iommu=off off the kernel's command line",
        )
    return passed(f"{iommu.value.units} in use, {iommu.value.groups} groups")


def _snp(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    if evidence.switched_on(SNP):
        return passed("on: else kvm_amd would not have SEV-SNP on")
    remedy = (
        f"set SNP Memory (RMP Table) Coverage to Enabled ({_CPU}), and SEV-SNP Support "
        f"to Enabled, not Auto ({_NBIO}), in the firmware set-up"
    )
    for line in evidence.kernel_log.value or ():
        if "RMP table" in line and "not been reserved" in line:
            return failed("the kernel's log: no memory reserved for the RMP", remedy)
        if "IOMMU SNP feature" in line and "not enabled" in line:
            return failed("the kernel's log: the IOMMU has SNP not enabled", remedy)
    processor, kernel = evidence.processor.value, evidence.facts.versions.kernel
    known = processor_checks.generation(processor) if processor else None
    if processor is None or known is None or not known.snp:
        return skipped("it is not known whether this processor has SEV-SNP")
    if "sev_snp" in processor.flags:
        return passed("the processor has the flag sev_snp")
    if kernel is None or kernel < _TELLS_OF_RMP:
        return skipped("this kernel does not tell")
    return failed("the kernel shows no flag sev_snp of the processor", remedy)


NODES = (
    Node(
        Check("bios.sme", "SME and SEV in the firmware set-up", "/proc/cpuinfo"),
        _sme,
        parent="processor.generation",
        explains=_OFF,
    ),
    Node(
        Check(
            "bios.asids",
            "ASIDs for the generation",
            "CPUID 0x8000001F, misc.capacity, libvirt's domain capabilities",
        ),
        _asids,
        parent="bios.sme",
        explains=_OFF | {Obstacle.NO_SLOTS},
    ),
    Node(
        Check(
            "bios.iommu",
            "IOMMU",
            "/sys/class/iommu, /sys/kernel/iommu_groups",
        ),
        _iommu,
        parent="bios.asids",
        models=frozenset({SNP}),
        explains=_OFF,
    ),
    Node(
        Check(
            "bios.snp",
            "SEV-SNP and its RMP in the firmware set-up",
            "/proc/cpuinfo, dmesg",
        ),
        _snp,
        parent="bios.iommu",
        models=frozenset({SNP}),
        explains=_OFF,
    ),
)
