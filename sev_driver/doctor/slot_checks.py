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
"""Slots for encryption keys: how many there are, who holds them, how many are free."""

from __future__ import annotations

import dataclasses

from sev_driver import inventory, occupants, reserved
from sev_driver.capabilities import Support
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check
from sev_driver.doctor.nova_checks import place
from sev_driver.doctor.nova_conf import whole
from sev_driver.doctor.running_domains import RunningDomain
from sev_driver.doctor.tree import (
    Judgement,
    Node,
    failed,
    passed,
    skipped,
    warned,
)
from sev_driver.model import MemoryEncryptionModel

_ES, _SNP = MemoryEncryptionModel.AMD_SEV_ES, MemoryEncryptionModel.AMD_SEV_SNP

#: As many guests are named; of more it is said how many.
_NAMED = 4


@dataclasses.dataclass(frozen=True)
class Use:
    """Who holds slots of the pool that a generation takes its own from.

    ``own`` is how many of that very generation Nova's guests hold. ``unseen`` are
    held by guests that the kernel counts and libvirt does not run.
    """

    novas: tuple[RunningDomain, ...]
    others: tuple[RunningDomain, ...]
    unseen: int
    own: int

    @property
    def total(self) -> int:
        return len(self.novas) + len(self.others) + self.unseen

    def __str__(self) -> str:
        held = [
            f"{len(domains)} held by {whose} ({_named(domains, words)})"
            for domains, whose, words in (
                (self.novas, "servers of Nova", "{0.uuid}"),
                (self.others, "guests of others", "{0.name}"),
            )
            if domains
        ]
        if self.unseen:
            held.append(f"{self.unseen} held by guests that libvirt does not run")
        return ", ".join(held) or "none held"


def _named(domains: tuple[RunningDomain, ...], words: str) -> str:
    names = [words.format(domain) for domain in domains[:_NAMED]]
    more = len(domains) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def use(evidence: Evidence, model: MemoryEncryptionModel) -> Use | None:
    """Return who holds slots; None where neither libvirt nor the kernel tells."""
    domains = evidence.domains.value
    if domains is None and not evidence.misc_current:
        return None
    encrypted = [domain for domain in domains or () if domain.model is not None]
    models = [domain.model for domain in encrypted if domain.model is not None]
    more = occupants.unseen(models, evidence.misc_current)
    pool = _pool(evidence, model)
    here = tuple(domain for domain in encrypted if domain.model in pool)
    novas = tuple(domain for domain in here if domain.novas)
    return Use(
        novas,
        tuple(domain for domain in here if not domain.novas),
        sum(more[each] for each in pool),
        sum(domain.model is model for domain in novas),
    )


def _pool(
    evidence: Evidence, model: MemoryEncryptionModel
) -> tuple[MemoryEncryptionModel, ...]:
    """Return the generations that take their slots from one pool with ``model``."""
    if model not in (_ES, _SNP) or reserved.is_split(evidence.capabilities):
        return (model,)
    return _ES, _SNP


def size(evidence: Evidence, model: MemoryEncryptionModel) -> int | None:
    """Return how many slots the pool has; None where nothing tells."""
    if len(_pool(evidence, model)) > 1:
        return inventory.together(evidence.capabilities)
    return evidence.capabilities[model].slots


def caps(evidence: Evidence) -> inventory.Caps:
    """Return the operator's limits in nova.conf."""
    found: dict[MemoryEncryptionModel, int | None] = {}
    for model, option in inventory.CAP_OPTIONS.items():
        try:
            found[model] = whole(evidence.option(*_split(option)))
        except ValueError:
            found[model] = None  # nova.option-values tells of it
    return found


def _split(option: str) -> tuple[str, str]:
    section, _, name = option.partition(" ")
    return section.strip("[]"), name


def not_here(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement | None:
    """Return why there are no slots to speak of; None where the generation runs."""
    support = evidence.capabilities[model].support
    if support is Support.YES:
        return None
    if support is Support.UNKNOWN:
        return skipped(f"whether {model.title} runs here could not be found out")
    return skipped(f"{model.title} does not run here")


def offered(evidence: Evidence, model: MemoryEncryptionModel) -> inventory.Slots:
    """Return what the driver offers to Placement."""
    return inventory.offers(evidence.capabilities, caps(evidence))[model]


def free(evidence: Evidence, model: MemoryEncryptionModel) -> int | None:
    """Return how many guests more Nova can start; None where nothing tells."""
    total, used = offered(evidence, model).total, use(evidence, model)
    pool = size(evidence, model)
    if used is None or (pool is None and total == inventory.UNLIMITED):
        return None
    left = total - used.own
    return max(0, left if pool is None else min(left, pool - used.total))


def _total(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    if (absent := not_here(evidence, model)) is not None:
        return absent
    slots, option = offered(evidence, model), inventory.CAP_OPTIONS[model]
    if slots.warning:
        told, _, remedy = slots.warning.rstrip(".").rpartition(". ")
        return warned(told, f"{remedy[:1].lower()}{remedy[1:]}")
    if slots.total:
        count = slots.total
        number = "no known number" if count == inventory.UNLIMITED else str(count)
        return passed(f"{number} offered to Nova ({slots.source})")
    limit = caps(evidence)[model]
    where = place(evidence, *_split(option))
    if limit == 0:
        return failed(
            f"{option} is 0", f"raise it in {where}, then restart nova-compute"
        )
    other = inventory.CAP_OPTIONS[_ES if model is _SNP else _SNP]
    change = f"set {option} in {where} to as many as you want of {model.title}"
    if model is _SNP:
        change = f"lower {other} in {where}"
    return failed(
        f"none offered: {slots.source}", f"{change}, then restart nova-compute"
    )


def _free(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    if (absent := not_here(evidence, model)) is not None:
        return absent
    used = use(evidence, model)
    if used is None:
        return skipped(
            f"which guests run cannot be told: {evidence.domains.unknown or 'unknown'}"
        )
    left, total = free(evidence, model), size(evidence, model)
    if left is None:
        return skipped(f"nothing tells how many slots there are; {used}")
    pool = offered(evidence, model).total if total is None else total
    seen = f"{left} of {pool} free; {used}"
    return passed(seen) if left else failed(seen, _remedy(evidence, model, used))


def _remedy(evidence: Evidence, model: MemoryEncryptionModel, used: Use) -> str:
    ways = []
    total, limit = size(evidence, model), offered(evidence, model).total
    if total is not None and total > used.total:
        option = inventory.CAP_OPTIONS[model]
        ways.append(
            f"raise {option} in {place(evidence, *_split(option))} (it offers {limit} "
            f"of the {total} that the hardware has) and restart nova-compute"
        )
    if used.others:
        name = used.others[0].name
        ways.append(
            f"ask the owner of {name}, a guest that is not Nova's, to end it: virsh "
            f"shutdown {name}, or where it does not heed that, virsh destroy {name}"
        )
    if used.unseen:
        ways.append("end a QEMU that libvirt did not start (pgrep -a qemu)")
    if used.novas:
        uuid = used.novas[0].uuid
        ways.append(
            f"delete or move a server, such as with openstack server migrate {uuid}"
        )
    return "; or ".join([*ways, "use another host"])


_COUNTS = "libvirt, CPUID, misc.capacity; the options that limit them in nova.conf"
TOTAL = Check("slots.total", "Slots offered to Nova", _COUNTS)

NODES = (
    Node(TOTAL, _total),
    Node(
        Check(
            "slots.free",
            "Free slots",
            "the running domains of libvirt, misc.current",
        ),
        _free,
        parent=TOTAL.id,
    ),
)
