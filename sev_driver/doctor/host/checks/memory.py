# SPDX-License-Identifier: Apache-2.0

"""Memory: encrypted guests pin theirs, so that it can be promised only once."""

from __future__ import annotations

import dataclasses
import re

from sev_driver.doctor.host.checks import slots
from sev_driver.doctor.host.checks import slots as slot_checks
from sev_driver.doctor.host.checks.nova import place, setting, where_read
from sev_driver.doctor.host.evidence import Evidence
from sev_driver.doctor.host.nova_conf import number
from sev_driver.doctor.host.tree import (
    Outcome,
    check,
    failed,
    passed,
    skipped,
    warned,
)
from sev_driver.host import memory
from sev_driver.model import MemoryEncryptionModel

#: Options of Nova's.
RESERVED, RATIO = "reserved_host_memory_mb", "ram_allocation_ratio"
#: Nova's default of the first, MiB.
RESERVED_BY_DEFAULT = 512

_NUMBER = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
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
    def of(cls, evidence: Evidence, model: MemoryEncryptionModel) -> MemoryPlan | None:
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
        """True if there are more of them than the host keeps for itself."""
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
        return self.guests * self.guest + self.advice.minimum_mib

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
        found = number(evidence.option("DEFAULT", RESERVED))
    except ValueError:
        found = None
    return RESERVED_BY_DEFAULT if found is None or found < 0 else found


_SMALLER = ", or ask for a smaller guest (--guest-memory)"


@check(
    "memory.overcommit",
    "Overcommitment of memory",
    f"[DEFAULT] {RATIO}, initial_{RATIO}, /proc/meminfo",
    parent="processor.physical",
)
@where_read
def overcommit(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    ratio = ratio_of(evidence)
    if ratio is None:
        return passed(f"{RATIO} is unset, and so 1.0 for a new host")
    if ratio <= 1.0:
        return passed(f"it is {ratio}")
    promised = ""
    if (plan := MemoryPlan.of(evidence, model)) is not None:
        promised = (
            f": Nova promises {int(plan.total * ratio)} MiB of {plan.total} MiB, and"
        )
    return failed(
        f"it is {ratio}{promised or ', but'} encrypted guests pin all their memory",
        setting(evidence, "DEFAULT", RATIO, "1.0"),
    )


@check(
    "memory.reserved",
    "Memory reserved for the host",
    f"[DEFAULT] {RESERVED}, /proc/meminfo, the slots",
    parent="memory.overcommit",
)
@where_read
def reserve(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if (absent := slots.not_here(evidence, model)) is not None:
        return absent
    plan = MemoryPlan.of(evidence, model)
    if plan is None:
        return _unread(evidence)
    advice, reserved = plan.advice, plan.reserved
    seen = (
        f"{plan}; {advice.minimum_mib} MiB (AMD SEV spec) to {advice.recommended_mib} "
        f"MiB (libvirt's advice) are needed beyond their RAM, and {reserved} MiB "
        "are reserved"
    )
    remedy = setting(evidence, "DEFAULT", RESERVED, str(_advised(plan)))
    remedy += ", or more if the host itself needs more"
    first = plan.guest + memory.spec_overhead_mib()
    if plan.guests and first > plan.left and not plan.guests_may_have_huge_pages:
        return failed(f"{seen}: not even the first guest would run", remedy)
    if plan.pinned > plan.left:
        return warned(f"{seen}: the last of them would not run", remedy)
    if reserved < advice.recommended_mib:
        return warned(seen, remedy)
    twice = plan.pinned + plan.guests * plan.guest
    if model is MemoryEncryptionModel.AMD_SEV_SNP and twice > plan.left:
        fit = max(1, plan.left // (2 * plan.guest))
        return warned(
            f"{plan}; SEV-SNP can take up to twice the RAM of a guest, for its private "
            f"and its shared pages both stay: {twice} MiB",
            setting(evidence, "DEFAULT", RESERVED, str(plan.total - fit * plan.guest)),
        )
    return passed(seen)


def _advised(plan: MemoryPlan) -> int:
    """Return the reserve by which the guests that still fit have all they need."""
    for guests in range(plan.guests, 0, -1):
        needed = guests * memory.LIBVIRT_MIB + RESERVED_BY_DEFAULT
        if plan.left - needed >= guests * plan.guest:
            return needed + plan.total - plan.left
    return plan.reserved


@check(
    "memory.huge-pages",
    "Huge pages",
    f"/proc/meminfo, [DEFAULT] {RESERVED}",
    parent="processor.physical",
)
@where_read
def huge_pages(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    plan = MemoryPlan.of(evidence, model)
    if plan is None:
        return _unread(evidence)
    huge = plan.total - plan.ordinary
    if not huge:
        return passed("there are no huge pages")
    seen = f"{huge} MiB of {plan.total} MiB are huge pages"
    if huge <= plan.reserved:
        return passed(f"{seen}, and {plan.reserved} MiB are reserved")
    return warned(
        f"{seen}: only guests with hw:mem_page_size use them, but Nova counts them for "
        "all guests",
        "set hw:mem_page_size=large on the flavors of this host's guests; or, if "
        f"they are not for guests, add {huge} to [DEFAULT] {RESERVED}, or reduce "
        "them (vm.nr_hugepages)",
    )


@check(
    "memory.room",
    "Memory available",
    "/proc/meminfo",
    parent="processor.physical",
)
def room(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    plan, found = MemoryPlan.of(evidence, model), evidence.memory.value
    if plan is None or found is None:
        return _unread(evidence)
    if not plan.by_memory:
        return failed(
            f"{plan.reserved} MiB of {plan.total} MiB are reserved, which leaves Nova "
            f"less than one guest of {plan.guest} MiB",
            f"lower [DEFAULT] {RESERVED} in {place(evidence, 'DEFAULT', RESERVED)}, "
            f"then restart nova-compute{_SMALLER}",
        )
    each, available = (
        plan.guest + memory.spec_overhead_mib(),
        found.available_kib // 1024,
    )
    fit, free = available // each, slots.free(evidence, model)
    seen = (
        f"{available} MiB are available, and a guest of {plan.guest} MiB pins {each} "
        f"MiB: {fit} fit now"
    )
    if not fit and plan.guests_may_have_huge_pages:
        return warned(
            f"{seen} beside the huge pages, which only guests with hw:mem_page_size "
            "take",
            "set hw:mem_page_size=large on the flavor, or end or move guests"
            f"{_SMALLER}",
        )
    if not fit:
        return failed(seen, f"end or move guests, or add memory{_SMALLER}")
    if free is None or not evidence.capabilities[model].supported:
        return passed(seen)
    return passed(f"{seen}, and {free} by the free slots")


def _unread(evidence: Evidence) -> Outcome:
    why = evidence.memory.unknown or "it does not exist"
    return skipped(f"/proc/meminfo could not be read: {why}")
