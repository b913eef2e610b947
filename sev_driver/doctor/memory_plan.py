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

"""What encrypted guests of one size pin of a host's memory, and how many fit."""

from __future__ import annotations

import dataclasses
import re

from sev_driver import memory
from sev_driver.doctor import slot_checks
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.nova_conf import whole
from sev_driver.model import MemoryEncryptionModel

#: Options of Nova's.
RESERVED, RATIO = "reserved_host_memory_mb", "ram_allocation_ratio"
#: Nova's default of the first, MiB.
RESERVED_BY_DEFAULT = 512

_NUMBER = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What becomes of the host when Nova fills it with guests of one size, in MiB.

    ``ordinary`` is the host's memory without its huge pages. Nova would place
    ``by_memory`` guests of ``guest`` MiB, and ``guests`` where their slots are
    counted, too.
    """

    total: int
    ordinary: int
    reserved: int
    guest: int
    by_memory: int
    guests: int

    @classmethod
    def of(cls, evidence: Evidence, model: MemoryEncryptionModel) -> Plan | None:
        """Return the plan; None where the host's memory could not be read."""
        found = evidence.memory.value
        if found is None:
            return None
        total, ratio = found.total_kib // 1024, ratio_of(evidence) or 1.0
        reserved = reserved_of(evidence)
        by_memory = max(0, int(total * ratio) - reserved) // evidence.guest_mib
        slots = slot_checks.offered(evidence, model).total
        return cls(
            total,
            total - found.huge_pages_kib // 1024,
            reserved,
            evidence.guest_mib,
            by_memory,
            min(by_memory, slots),
        )

    @property
    def guests_may_have_huge_pages(self) -> bool:
        """Whether there are more of them than the host keeps for itself."""
        return self.total - self.ordinary > self.reserved

    @property
    def left(self) -> int:
        """What guests can pin: without huge pages that are the host's own."""
        return self.total if self.guests_may_have_huge_pages else self.ordinary

    @property
    def advice(self) -> memory.Advice:
        return memory.advise(self.guests)

    @property
    def pinned(self) -> int:
        """At least this much, by the formula of AMD SEV's specification in Nova."""
        return self.guests * self.guest + self.advice.at_least_mib

    def __str__(self) -> str:
        return (
            f"{self.guests} guests of {self.guest} MiB pin {self.pinned} MiB, of "
            f"{self.total} MiB that the host has"
        )


def ratio_of(evidence: Evidence) -> float | None:
    """Return what Nova multiplies the host's memory by; None where it is unset."""
    for name in (RATIO, f"initial_{RATIO}"):
        text = (evidence.option("DEFAULT", name) or "").strip()
        # 0.0 is how old releases wrote an unset ratio.
        if _NUMBER.fullmatch(text) and float(text):
            return float(text)
    return None


def reserved_of(evidence: Evidence) -> int:
    try:
        found = whole(evidence.option("DEFAULT", RESERVED))
    except ValueError:
        found = None
    return RESERVED_BY_DEFAULT if found is None or found < 0 else found
