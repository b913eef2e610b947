# SPDX-License-Identifier: Apache-2.0

"""Slots for encryption keys: how many there are, who holds them, how many are free."""

from __future__ import annotations

import dataclasses

from sev_driver.doctor.host.checks.nova import place
from sev_driver.doctor.host.domains import RunningDomain
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
from sev_driver.host.capabilities import Support
from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import inventory, reserved
from sev_driver.placement.pools import pools_of

_ES, _SNP = MemoryEncryptionModel.AMD_SEV_ES, MemoryEncryptionModel.AMD_SEV_SNP

#: As many guests are named; of more it is said how many.
_NAMED = 4


@dataclasses.dataclass(frozen=True)
class PoolUsage:
    """Who holds slots of the pool from which a model takes its slots.

    ``own`` is how many of them Nova's guests of that model hold. ``unseen`` are
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
                (self.others, "guests not managed by Nova", "{0.name}"),
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


def use(evidence: Evidence, model: MemoryEncryptionModel) -> PoolUsage | None:
    """Return who holds slots; None if neither libvirt nor the kernel says so."""
    domains = evidence.domains.value
    if domains is None and not evidence.misc_current:
        return None
    encrypted = [domain for domain in domains or () if domain.model is not None]
    models = [domain.model for domain in encrypted if domain.model is not None]
    more = reserved.guests_outside_libvirt(models, evidence.misc_current)
    pool = _pool(evidence, model)
    here = tuple(domain for domain in encrypted if domain.model in pool)
    novas = tuple(domain for domain in here if domain.novas)
    return PoolUsage(
        novas,
        tuple(domain for domain in here if not domain.novas),
        sum(more[each] for each in pool),
        sum(domain.model is model for domain in novas),
    )


def _pool(
    evidence: Evidence, model: MemoryEncryptionModel
) -> tuple[MemoryEncryptionModel, ...]:
    """Return the models that share a pool with ``model``, itself included."""
    return pools_of(evidence.capabilities).of(model).models


def size(evidence: Evidence, model: MemoryEncryptionModel) -> int | None:
    """Return how many slots the pool has; None if it is not known."""
    return pools_of(evidence.capabilities).of(model).size


def caps(evidence: Evidence) -> inventory.SlotLimits:
    """Return the operator's limits in nova.conf."""
    found: dict[MemoryEncryptionModel, int | None] = {}
    for model, option in inventory.LIMIT_OPTIONS.items():
        try:
            found[model] = number(evidence.option(*_split(option)))
        except ValueError:
            found[model] = None  # nova.option-values fails
    return found


def _split(option: str) -> tuple[str, str]:
    section, _, name = option.partition(" ")
    return section.strip("[]"), name


def not_here(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome | None:
    """Return why there are no slots; None if the model runs here."""
    support = evidence.capabilities[model].support
    if support is Support.YES:
        return None
    if support is Support.UNKNOWN:
        return skipped(f"it is not known whether {model.title} runs here")
    return skipped(f"{model.title} does not run here")


def offered(evidence: Evidence, model: MemoryEncryptionModel) -> inventory.SlotOffer:
    """Return what the driver offers to Placement."""
    return inventory.compute_offers(evidence.capabilities, caps(evidence))[model]


def free(evidence: Evidence, model: MemoryEncryptionModel) -> int | None:
    """Return how many more guests Nova can start; None if it is not known."""
    total, used = offered(evidence, model).total, use(evidence, model)
    pool = size(evidence, model)
    if used is None or (pool is None and total == inventory.UNLIMITED):
        return None
    left = total - used.own
    return max(0, left if pool is None else min(left, pool - used.total))


@check(
    "slots.total",
    "Slots offered to Nova",
    "libvirt, CPUID, misc.capacity; the options that limit them in nova.conf",
    parent="processor.physical",
)
def _total(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if (absent := not_here(evidence, model)) is not None:
        return absent
    slots, option = offered(evidence, model), inventory.LIMIT_OPTIONS[model]
    if slots.warning:
        message, _, remedy = slots.warning.rstrip(".").rpartition(". ")
        return warned(message, f"{remedy[:1].lower()}{remedy[1:]}")
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
    other = inventory.LIMIT_OPTIONS[_ES if model is _SNP else _SNP]
    change = (
        f"set {option} in {where} to the number of {model.title} guests that you want"
    )
    if model is _SNP:
        change = f"lower {other} in {where}"
    return failed(
        f"none offered: {slots.source}", f"{change}, then restart nova-compute"
    )


@check(
    "slots.free",
    "Free slots",
    "the running domains of libvirt, misc.current",
    parent="slots.total",
)
def _free(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if (absent := not_here(evidence, model)) is not None:
        return absent
    used = use(evidence, model)
    if used is None:
        return skipped(
            f"it is not known which guests run: {evidence.domains.unknown or 'unknown'}"
        )
    left, total = free(evidence, model), size(evidence, model)
    if left is None:
        return skipped(f"the number of slots is not known; {used}")
    pool = offered(evidence, model).total if total is None else total
    seen = f"{left} of {pool} free; {used}"
    return passed(seen) if left else failed(seen, _remedy(evidence, model, used))


def _remedy(evidence: Evidence, model: MemoryEncryptionModel, used: PoolUsage) -> str:
    ways = []
    total, limit = size(evidence, model), offered(evidence, model).total
    if total is not None and total > used.total:
        option = inventory.LIMIT_OPTIONS[model]
        ways.append(
            f"raise {option} in {place(evidence, *_split(option))} (it offers {limit} "
            f"of the {total} that the hardware has) and restart nova-compute"
        )
    if used.others:
        name = used.others[0].name
        ways.append(
            f"ask the owner of {name}, a guest not managed by Nova, to end it: virsh "
            f"shutdown {name}, or if that has no effect, virsh destroy {name}"
        )
    if used.unseen:
        ways.append("end a QEMU that libvirt did not start (pgrep -a qemu)")
    if used.novas:
        uuid = used.novas[0].uuid
        ways.append(
            f"delete or move a server, such as with openstack server migrate {uuid}"
        )
    return "; or ".join([*ways, "use another host"])
