# SPDX-License-Identifier: Apache-2.0

"""What is enabled in the BIOS setup: SME, ASIDs, IOMMU, SEV-SNP.

The kernel shows what is off, by the flags of the processor that it leaves out
(arch/x86/kernel/cpu/amd.c) and by its log.
"""

from __future__ import annotations

from sev_driver.doctor.host.evidence import Evidence
from sev_driver.doctor.host.tree import (
    Outcome,
    by_the_driver,
    check,
    failed,
    passed,
    skipped,
)
from sev_driver.host import kernel_rules, slot_counts
from sev_driver.host.capabilities import ObstacleKind
from sev_driver.model import SEV, SEV_SNP, MemoryEncryptionModel


@check(
    "bios.sme",
    "SME and SEV in the BIOS setup",
    "/proc/cpuinfo",
    parent="processor.generation",
)
@by_the_driver(ObstacleKind.SME_OFF)
def _sme(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if evidence.switched_on(SEV):
        return passed("on: otherwise kvm_amd would not have SEV on")
    processor = evidence.processor.value
    if processor is None or not processor.flags:
        return skipped(f"/proc/cpuinfo: {evidence.processor.unknown or 'no flags'}")
    missing = [flag for flag in ("sme", "sev") if flag not in processor.flags]
    if missing:
        return skipped(f"the kernel shows no flag {' or '.join(missing)}")
    return passed("the processor has the flags sme and sev")


@check(
    "bios.asids",
    "ASIDs for the model",
    "CPUID 0x8000001F, misc.capacity, libvirt's domain capabilities",
    parent="bios.sme",
    explains=frozenset({ObstacleKind.PARAMETER_OFF, ObstacleKind.NO_SLOTS}),
)
def _asids(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    counts = slot_counts.count_slots(evidence.full_facts)
    count = counts.sev if model is SEV else counts.shared
    if count is None:
        return skipped(
            "neither CPUID 0x8000001F, misc.capacity nor libvirt has a number"
        )
    whose = "plain SEV" if model is SEV else "SEV-ES and SEV-SNP"
    if count.number > 0:
        return passed(f"{count.number} for {whose} ({count.source})")
    capability = evidence.capabilities[model]
    if capability.obstacle is ObstacleKind.NO_SLOTS:
        return failed(capability.reason, capability.remedy)
    found = kernel_rules.no_asids(model, evidence.full_facts, count)
    return failed(f"no ASID is left for {whose}: {found.reason}", found.remedy)


@check(
    "bios.iommu",
    "IOMMU",
    "/sys/class/iommu, /sys/kernel/iommu_groups",
    parent="bios.asids",
    models=frozenset({SEV_SNP}),
)
@by_the_driver(ObstacleKind.IOMMU_OFF)
def _iommu(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if evidence.switched_on(SEV_SNP):
        return passed("on: otherwise kvm_amd would not have SEV-SNP on")
    iommu = evidence.iommu
    if iommu.unknown or iommu.value is None:
        return skipped(f"/sys/kernel/iommu_groups: {iommu.unknown or 'not there'}")
    return passed(f"{iommu.value.units} in use, {iommu.value.groups} groups")


@check(
    "bios.snp",
    "SEV-SNP and its RMP in the BIOS setup",
    "/proc/cpuinfo, dmesg",
    parent="bios.iommu",
    models=frozenset({SEV_SNP}),
)
@by_the_driver(ObstacleKind.SNP_OFF)
def _snp(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if evidence.switched_on(SEV_SNP):
        return passed("on: otherwise kvm_amd would not have SEV-SNP on")
    processor = evidence.processor.value
    known = processor.generation if processor else None
    if processor is None or known is None or not known.snp:
        return skipped("it is not known whether this processor has SEV-SNP")
    if "sev_snp" in processor.flags:
        return passed("the processor has the flag sev_snp")
    return skipped("this kernel does not report it")
