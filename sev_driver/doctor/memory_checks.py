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
"""Memory: encrypted guests pin theirs, so that it can be promised only once."""

from __future__ import annotations

from sev_driver import memory
from sev_driver.doctor import slot_checks
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check
from sev_driver.doctor.memory_plan import (
    RATIO,
    RESERVED,
    RESERVED_BY_DEFAULT,
    Plan,
    ratio_of,
)
from sev_driver.doctor.nova_checks import place, setting, where_read
from sev_driver.doctor.tree import (
    Judgement,
    Node,
    failed,
    passed,
    skipped,
    warned,
)
from sev_driver.model import MemoryEncryptionModel

_SMALLER = ", or ask for a smaller guest (--guest-memory)"


def overcommit(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    ratio = ratio_of(evidence)
    if ratio is None:
        return passed(f"{RATIO} is unset, and so 1.0 for a new host")
    if ratio <= 1.0:
        return passed(f"it is {ratio}")
    promised = ""
    if (plan := Plan.of(evidence, model)) is not None:
        promised = (
            f": Nova promises {int(plan.total * ratio)} MiB of {plan.total} MiB, and"
        )
    return failed(
        f"it is {ratio}{promised or ', but'} encrypted guests pin what they get",
        setting(evidence, "DEFAULT", RATIO, "1.0"),
    )


def reserve(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    if (absent := slot_checks.not_here(evidence, model)) is not None:
        return absent
    plan = Plan.of(evidence, model)
    if plan is None:
        return _unread(evidence)
    advice, reserved = plan.advice, plan.reserved
    seen = (
        f"{plan}; {advice.at_least_mib} MiB (AMD SEV spec) to {advice.with_ease_mib} "
        f"MiB (libvirt's advice) go beyond their RAM, and {reserved} MiB are reserved"
    )
    remedy = setting(evidence, "DEFAULT", RESERVED, str(_advised(plan)))
    remedy += ", or to more where the host itself needs more"
    first = plan.guest + memory.spec_overhead_mib()
    if plan.guests and first > plan.left and not plan.guests_may_have_huge_pages:
        return failed(f"{seen}: not even the first would run", remedy)
    if plan.pinned > plan.left:
        return warned(f"{seen}: the last of them would not run", remedy)
    if reserved < advice.with_ease_mib:
        return warned(seen, remedy)
    return passed(seen)


def _advised(plan: Plan) -> int:
    """Return the reserve by which the guests that still fit have all they need."""
    for guests in range(plan.guests, 0, -1):
        needed = guests * memory.LIBVIRT_MIB + RESERVED_BY_DEFAULT
        if plan.left - needed >= guests * plan.guest:
            return needed + plan.total - plan.left
    return plan.reserved


def huge_pages(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    plan = Plan.of(evidence, model)
    if plan is None:
        return _unread(evidence)
    huge = plan.total - plan.ordinary
    if not huge:
        return passed("there are none")
    seen = f"{huge} MiB of {plan.total} MiB are huge pages"
    if huge <= plan.reserved:
        return passed(f"{seen}, and {plan.reserved} MiB are reserved")
    return warned(
        f"{seen}: only guests with hw:mem_page_size take them, and Nova promises them "
        "to all",
        "set hw:mem_page_size=large on the flavors of this host's guests; or, where "
        f"they are not for guests, add {huge} to [DEFAULT] {RESERVED}, or have fewer "
        "of them (vm.nr_hugepages)",
    )


def room(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    plan, found = Plan.of(evidence, model), evidence.memory.value
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
    fit, free = available // each, slot_checks.free(evidence, model)
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


def _unread(evidence: Evidence) -> Judgement:
    why = evidence.memory.unknown or "it is not there"
    return skipped(f"/proc/meminfo could not be read: {why}")


NODES = (
    Node(
        Check(
            "memory.overcommit",
            "Overcommitment of memory",
            f"[DEFAULT] {RATIO}, initial_{RATIO}, /proc/meminfo",
        ),
        where_read(overcommit),
    ),
    Node(
        Check(
            "memory.reserved",
            "Memory reserved for the host",
            f"[DEFAULT] {RESERVED}, /proc/meminfo, the slots",
        ),
        where_read(reserve),
        parent="memory.overcommit",
    ),
    Node(
        Check(
            "memory.huge-pages",
            "Huge pages",
            f"/proc/meminfo, [DEFAULT] {RESERVED}",
        ),
        where_read(huge_pages),
    ),
    Node(
        Check("memory.room", "Memory available", "/proc/meminfo"),
        room,
    ),
)
