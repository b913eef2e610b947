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
"""The processor: whose it is, and of which generation."""

from __future__ import annotations

from typing import NamedTuple

from sev_driver.capabilities import Obstacle
from sev_driver.doctor.evidence import Evidence, Processor
from sev_driver.doctor.finding import Check
from sev_driver.doctor.tree import Judgement, Node, failed, passed, skipped
from sev_driver.model import MemoryEncryptionModel

SNP = MemoryEncryptionModel.AMD_SEV_SNP

_AMD = ("AuthenticAMD", "HygonGenuine")


class Generation(NamedTuple):
    """EPYC processors by family and models (the first and last), of AMD's manuals."""

    family: int
    first: int
    last: int
    name: str
    snp: bool


GENERATIONS = (
    Generation(0x17, 0x00, 0x0F, "Naples, EPYC 7001", False),
    Generation(0x17, 0x30, 0x3F, "Rome, EPYC 7002", False),
    Generation(0x18, 0x00, 0xFF, "Hygon Dhyana", False),
    Generation(0x19, 0x00, 0x0F, "Milan, EPYC 7003", True),
    Generation(0x19, 0x10, 0x1F, "Genoa, EPYC 9004", True),
    Generation(0x19, 0xA0, 0xAF, "Bergamo or Siena, EPYC 97x4 or 8004", True),
    Generation(0x1A, 0x00, 0x0F, "Turin, EPYC 9005", True),
    Generation(0x1A, 0x10, 0x1F, "Turin Dense, EPYC 9005", True),
)


def generation(processor: Processor) -> Generation | None:
    """Return which EPYC it is; None for one that is not known here."""
    for known in GENERATIONS:
        if (
            processor.family == known.family
            and known.first <= processor.model <= known.last
        ):
            return known
    return None


def _vendor(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    capability = evidence.capabilities[model]
    if capability.obstacle is Obstacle.ARCH:
        return failed(capability.reason, capability.remedy)
    processor = evidence.processor.value
    if processor is None or not processor.vendor:
        why = evidence.processor.unknown or "it does not name the vendor"
        return skipped(f"/proc/cpuinfo: {why}")
    if processor.vendor in _AMD:
        return passed(processor.name or processor.vendor)
    if evidence.switched_on(model):
        return passed(f"{processor.vendor}'s, with a kvm_amd that has SEV on")
    return failed(f"the processor is {processor.vendor}'s", "use an AMD EPYC")


def _generation(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    processor = evidence.processor.value
    if processor is None:
        return skipped(f"/proc/cpuinfo: {evidence.processor.unknown or 'not there'}")
    numbers = f"family {processor.family:x}h, model {processor.model:x}h"
    known = generation(processor)
    if known is None:
        return skipped(f"{numbers} is no EPYC that sev-doctor knows")
    if model is SNP and not known.snp and not evidence.switched_on(model):
        return failed(
            f"{known.name} ({numbers}) has no SEV-SNP",
            "use Milan (EPYC 7003) or later, or another generation of SEV",
        )
    return passed(f"{known.name} ({numbers})")


NODES = (
    Node(
        Check("processor.vendor", "AMD processor", "/proc/cpuinfo, uname -m"),
        _vendor,
        explains=frozenset({Obstacle.ARCH, Obstacle.PARAMETER_OFF}),
    ),
    Node(
        Check("processor.generation", "Generation of EPYC", "/proc/cpuinfo"),
        _generation,
        parent="processor.vendor",
        explains=frozenset({Obstacle.PARAMETER_OFF, Obstacle.PARAMETER_MISSING}),
    ),
)
