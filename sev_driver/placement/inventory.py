# SPDX-License-Identifier: Apache-2.0


"""The slots of each model to offer to Placement, and their inventories."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from sev_driver.host.capabilities import HostCapabilities, ModelCapability
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel
from sev_driver.placement.pools import pools_of

#: The number of slots that Nova's own driver reports if the number is unknown: the
#: largest one that Placement stores.
UNLIMITED = 0x7FFFFFFF

#: The option that limits each model.
LIMIT_OPTIONS = {
    SEV: "[libvirt] num_memory_encrypted_guests",
    SEV_ES: "[sev] num_sev_es_guests",
    SEV_SNP: "[sev] num_sev_snp_guests",
}

#: The operator's limits; None for a model without one.
SlotLimits = Mapping[MemoryEncryptionModel, Optional[int]]


@dataclasses.dataclass(frozen=True)
class SlotOffer:
    """The number of slots of one model to offer, and its source.

    ``warning`` says which option the operator should change; None if all is well.
    """

    total: int
    source: str
    warning: str | None = None


Offers = Mapping[MemoryEncryptionModel, SlotOffer]

#: An inventory of MEM_ENCRYPTION_CONTEXT, in Placement's terms.
Record = dict[str, Any]


def compute_offer(capability: ModelCapability, limit: int | None) -> SlotOffer:
    """Return the slots of one model, without regard to models that share its pool.

    :param limit: the operator's limit, None if not set. A limit can lower the detected
        number, but not raise it.
    """
    if not capability.supported:
        return SlotOffer(0, capability.reason)
    detected = capability.slots
    option = LIMIT_OPTIONS[capability.model]
    if detected is None:
        if limit is not None:
            return SlotOffer(limit, option)
        source = f"no limit: {capability.slots_source}, {option} is unset"
        return SlotOffer(UNLIMITED, source)
    # No processor has that many, but with a larger number Placement rejects the host.
    detected = min(detected, UNLIMITED)
    if limit is None or limit == detected:
        return SlotOffer(detected, capability.slots_source)
    if limit < detected:
        return SlotOffer(limit, f"{option}, lower than the detected {detected}")
    return SlotOffer(
        detected,
        capability.slots_source,
        f"{option} is {limit}, but this host has {detected} slots "
        f"({capability.slots_source}); {detected} are offered. Lower the option.",
    )


def compute_offers(
    host: HostCapabilities, limits: SlotLimits
) -> dict[MemoryEncryptionModel, SlotOffer]:
    """Return the slots of each model in ``host``.

    SEV-ES and SEV-SNP together are not offered more slots than they share.
    """
    found = {model: compute_offer(host[model], limits.get(model)) for model in host}
    for pool in pools_of(host):
        if pool.is_shared and all(found[model].total for model in pool.models):
            # The model with a limit is served first.
            first, second = pool.models
            if limits.get(first) is None:
                first, second = second, first
            rest = _rest(first, second, found, pool.size, limits)
            if rest is not None:
                found[second] = rest
    return found


def _rest(
    first: MemoryEncryptionModel,
    second: MemoryEncryptionModel,
    alone: Offers,
    size: int | None,
    limits: SlotLimits,
) -> SlotOffer | None:
    """Return the slots that ``first`` leaves for ``second``; None if they are enough.

    :param alone: the offer of each model, without regard to the other.
    :param size: the number of slots in the pool, None if unknown.
    """
    taken, wanted = alone[first].total, alone[second]
    option, limit = LIMIT_OPTIONS[second], limits.get(second)
    if size is None:
        if limit is not None:
            return None  # The operator set the number of both.
        source = f"the number shared with {first.title} is unknown; set {option}"
        return SlotOffer(0, source)
    left = max(0, size - taken)
    if wanted.total <= left:
        return None
    has = f"{first.title} has {taken} of the {size} slots that both share"
    if limit is None:
        return SlotOffer(left, f"{has}; {option} can keep some for {second.title}")
    warning = (
        f"{option} is {limit}, but {has}; {left} are offered. Lower one of the two."
    )
    return SlotOffer(left, has, warning)


def record(total: int, reserved: int = 0) -> Record:
    """Return an inventory record of Placement; a guest takes exactly one slot."""
    return {
        "total": total,
        "min_unit": 1,
        "max_unit": 1,
        "step_size": 1,
        "reserved": reserved,
        "allocation_ratio": 1.0,
    }


def fully_reserved(total: int) -> Record:
    """Return the inventory of a model that is no longer offered, but still allocated.

    Placement does not delete a provider with allocations, so the provider remains until
    its guests are removed.
    """
    return record(total, reserved=total)


def is_fully_reserved(inventory: Record) -> bool:
    """Return whether all slots are reserved, as :func:`fully_reserved` does."""
    return bool(inventory["reserved"] >= inventory["total"])


def with_room_for(inventory: Record, held: int) -> Record:
    """Return ``inventory``, enlarged if needed to hold ``held`` allocations.

    In a reshape, Placement checks the capacity. An update without one may lower the
    total below the allocations, so the right numbers follow with the next update.
    """
    free: int = inventory["total"] - inventory["reserved"]
    return inventory if held <= free else record(held)


@dataclasses.dataclass(frozen=True)
class SlotUsage:
    """The slots of one model on one host.

    ``used``: allocated to servers and migrations; None if Placement was not queried.
    ``free``: None like ``used``. ``reserved``: used by guests that are not managed by
    Nova. ``lost``: slots of a model that is no longer offered, which are still
    allocated, or kept until it is known whether the host supports the model.
    """

    used: int | None = 0
    free: int | None = 0
    reserved: int = 0
    lost: int = 0


def compute_usage(
    inventory: Record | None, used: int | None, *, is_offered: bool
) -> SlotUsage:
    """Return how the slots of an inventory are used.

    :param inventory: the model's inventory in Placement, None if it has no provider.
    :param used: the number of consumers, None if unknown.
    :param is_offered: true if the host offers the model now.
    """
    if inventory is None:
        return SlotUsage()
    if not is_offered:
        return SlotUsage(lost=inventory["total"])
    reserved: int = inventory["reserved"]
    if used is None:
        return SlotUsage(None, None, reserved)
    # After an option was lowered, more slots can be allocated than there are.
    free = max(0, inventory["total"] - used - reserved)
    return SlotUsage(used, free, reserved)
