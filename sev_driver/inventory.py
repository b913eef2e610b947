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


"""How many slots of each model Placement is told of, and why so many."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from sev_driver.capabilities import HostCapabilities, ModelCapability
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel

#: What stock Nova reports where nothing tells the number of slots: the guide's
#: default of None, "no limit", in the largest number that Placement stores.
UNLIMITED = 0x7FFFFFFF

#: The option with which the operator limits each model.
CAP_OPTIONS = {
    SEV: "[libvirt] num_memory_encrypted_guests",
    SEV_ES: "[sev] num_sev_es_guests",
    SEV_SNP: "[sev] num_sev_snp_guests",
}

#: The operator's limits; None where there is none.
Caps = Mapping[MemoryEncryptionModel, Optional[int]]


@dataclasses.dataclass(frozen=True)
class Slots:
    """The slots to offer, where the number comes from, and what is odd about it."""

    total: int
    source: str
    warning: str | None = None


Offer = Mapping[MemoryEncryptionModel, Slots]


def count(capability: ModelCapability, cap: int | None) -> Slots:
    """Return the slots of one model, as if no other shared them.

    :param cap: the operator's limit, None where there is none. It can lower the
        number that was detected, never raise it.
    """
    if not capability.supported:
        return Slots(0, capability.reason)
    detected = capability.slots
    option = CAP_OPTIONS[capability.model]
    if detected is None:
        if cap is not None:
            return Slots(cap, option)
        source = f"no limit: {capability.slots_source}, {option} is unset"
        return Slots(UNLIMITED, source)
    # Far above any processor's; Placement would refuse the whole host for it.
    detected = min(detected, UNLIMITED)
    if cap is None or cap == detected:
        return Slots(detected, capability.slots_source)
    if cap < detected:
        return Slots(cap, f"{option}, below the {detected} that were detected")
    return Slots(
        detected,
        capability.slots_source,
        f"{option} is {cap}, but this host has {detected} slots "
        f"({capability.slots_source}); {detected} are offered. Lower the option.",
    )


def offers(host: HostCapabilities, caps: Caps) -> dict[MemoryEncryptionModel, Slots]:
    """Return what to offer of each model that was judged.

    SEV-ES and SEV-SNP are never offered more together than they share.
    """
    found = {model: count(host[model], caps.get(model)) for model in host}
    if all(model in found and found[model].total for model in (SEV_ES, SEV_SNP)):
        first, second = SEV_ES, SEV_SNP
        if caps.get(SEV_ES) is None:
            first, second = second, first
        rest = _rest(first, second, found, together(host), caps)
        if rest is not None:
            found[second] = rest
    return found


def together(host: HostCapabilities) -> int | None:
    """Return how many guests of SEV-ES and SEV-SNP can run at once.

    None where nothing tells.
    """
    if host.shared_slots is not None:
        return host.shared_slots
    # Two numbers from one processor: what they share is no less than the larger.
    each = [host[model].slots for model in (SEV_ES, SEV_SNP) if model in host]
    return max((slots for slots in each if slots is not None), default=None)


def _rest(
    first: MemoryEncryptionModel,
    second: MemoryEncryptionModel,
    alone: Offer,
    pool: int | None,
    caps: Caps,
) -> Slots | None:
    """Return what is left to the second; None where that limits it no further."""
    taken, wanted = alone[first].total, alone[second]
    option, cap = CAP_OPTIONS[second], caps.get(second)
    if pool is None:
        if cap is not None:
            return None  # the operator has given the number of both
        return Slots(0, f"unknown how many it shares with {first.title}; set {option}")
    left = max(0, pool - taken)
    if wanted.total <= left:
        return None
    has = f"{first.title} has {taken} of the {pool} slots that both share"
    if cap is None:
        return Slots(left, f"{has}; {option} sets some aside for {second.title}")
    warning = f"{option} is {cap}, but {has}; {left} are offered. Lower one of the two."
    return Slots(left, has, warning)


def entry(total: int, reserved: int = 0) -> dict[str, Any]:
    """Return an inventory in Placement's terms; a guest takes exactly one slot."""
    return {
        "total": total,
        "min_unit": 1,
        "max_unit": 1,
        "step_size": 1,
        "reserved": reserved,
        "allocation_ratio": 1.0,
    }


def nothing_free(total: int) -> dict[str, Any]:
    """Return the inventory of a model that offers nothing, but must stay.

    Placement does not let go of a provider whose slots are allocated: it stays
    until the guests are gone.
    """
    return entry(total, reserved=total)


def roomy(inventory: dict[str, Any], held: int) -> dict[str, Any]:
    """Return the same with room for ``held`` guests that move in.

    Placement counts when allocations move, though not when totals shrink: it is
    told of a lower number, or of what is reserved, with the next update.
    """
    free: int = inventory["total"] - inventory["reserved"]
    return inventory if held <= free else entry(held)
