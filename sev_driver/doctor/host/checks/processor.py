# SPDX-License-Identifier: Apache-2.0

"""The processor: its vendor, and its EPYC generation."""

from __future__ import annotations

from sev_driver.doctor.host.evidence import Evidence
from sev_driver.doctor.host.tree import (
    Outcome,
    by_the_driver,
    check,
    passed,
    skipped,
)
from sev_driver.host.capabilities import ObstacleKind
from sev_driver.model import MemoryEncryptionModel


@check(
    "processor.vendor",
    "AMD processor",
    "/proc/cpuinfo, uname -m",
)
@by_the_driver(ObstacleKind.ARCH)
def _vendor(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    processor = evidence.processor.value
    if processor is None or not processor.vendor:
        why = evidence.processor.unknown or "it does not name the vendor"
        return skipped(f"/proc/cpuinfo: {why}")
    if processor.is_amd:
        return passed(processor.name or processor.vendor)
    return passed(f"{processor.vendor_title}'s, but kvm_amd has SEV enabled")


@check(
    "processor.physical",
    "Physical machine",
    "/proc/cpuinfo",
    parent="processor.vendor",
)
@by_the_driver(ObstacleKind.VIRTUAL_MACHINE)
def _physical(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    processor = evidence.processor.value
    if processor is None:
        return skipped(f"/proc/cpuinfo: {evidence.processor.unknown or 'not there'}")
    if processor.is_virtual:
        return passed("it is a virtual machine, and its hypervisor gives it SEV")
    return passed("it is not a virtual machine")


@check(
    "processor.generation",
    "Generation of EPYC",
    "/proc/cpuinfo",
    parent="processor.physical",
)
@by_the_driver(ObstacleKind.NOT_EPYC, ObstacleKind.PROCESSOR_WITHOUT_SNP)
def _generation(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    processor = evidence.processor.value
    if processor is None:
        return skipped(f"/proc/cpuinfo: {evidence.processor.unknown or 'not there'}")
    numbers = f"family {processor.family:x}h, model {processor.model:x}h"
    known = processor.generation
    if known is None:
        return skipped(
            f"{processor.title} ({numbers}) is not an EPYC that sev-doctor knows"
        )
    return passed(f"{known.name} ({numbers})")
