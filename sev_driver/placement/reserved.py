# SPDX-License-Identifier: Apache-2.0

"""The slots to reserve: those in use without an allocation in Placement."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping

from sev_driver.host import facts
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel
from sev_driver.placement.inventory import Offers, Record
from sev_driver.placement.pools import Pools


@dataclasses.dataclass(frozen=True)
class ModelUsage:
    """The slots of one model that are allocated, and those in use without allocation.

    ``unallocated`` is the number of running guests of the model without an allocation.
    """

    allocated: int = 0
    unallocated: int = 0


Usage = Mapping[MemoryEncryptionModel, ModelUsage]


def compute_reserved(
    pools: Pools, offers: Offers, usage: Usage
) -> dict[MemoryEncryptionModel, int]:
    """Return the number of slots to reserve of each model.

    Guests without an allocation use the slots that are not offered first, then offered
    ones. So Placement allocates exactly the slots that are free.

    If more slots of a model are allocated than are offered, for example after an option
    was lowered, they are not available to the other model of the pool.
    """
    reserved: dict[MemoryEncryptionModel, int] = {}
    usage = _divided(pools, usage)
    for pool in pools:
        offered = {
            model: offers[model].total for model in pool.models if model in offers
        }
        spare = 0 if pool.size is None else max(0, pool.size - sum(offered.values()))
        each = {model: usage.get(model, ModelUsage()) for model in pool.models}
        taken = sum(use.unallocated for use in each.values())
        if pool.is_shared:
            taken += sum(
                max(0, use.allocated - offered.get(model, 0))
                for model, use in each.items()
            )
        reserved |= _spread(offered, usage, max(0, taken - spare))
    return reserved


def _divided(pools: Pools, usage: Usage) -> Usage:
    """Return ``usage``, with guests that exceed the slots of SEV-ES counted as SEV-SNP.

    The kernel counts both models together, and guests outside libvirt are counted as
    SEV-ES. This is relevant if the two models have separate pools.
    """
    sizes = {pool.models: pool.size for pool in pools}
    if (SEV_ES,) not in sizes or (SEV_SNP,) not in sizes:
        return usage
    es, snp = usage.get(SEV_ES, ModelUsage()), usage.get(SEV_SNP, ModelUsage())
    beyond = max(0, es.unallocated - (sizes[SEV_ES,] or 0))
    return {
        **usage,
        SEV_ES: dataclasses.replace(es, unallocated=es.unallocated - beyond),
        SEV_SNP: dataclasses.replace(snp, unallocated=snp.unallocated + beyond),
    }


def _spread(
    offered: Mapping[MemoryEncryptionModel, int], usage: Usage, missing: int
) -> dict[MemoryEncryptionModel, int]:
    """Reserve ``missing`` of the offered slots, those of the guests' model first."""
    use = {model: usage.get(model, ModelUsage()) for model in offered}
    free = {
        model: max(0, total - use[model].allocated) for model, total in offered.items()
    }
    reserved = {}
    for model, total in offered.items():
        # Also if all are allocated: a guest can end before the next update.
        reserved[model] = min(total, use[model].unallocated, missing)
        taken = min(reserved[model], free[model])
        free[model] -= taken
        missing -= taken
    for model in offered:
        extra = min(missing, free[model])
        reserved[model] += extra
        missing -= extra
    return reserved


def guests_outside_libvirt(
    running: Iterable[MemoryEncryptionModel], *readings: Mapping[str, int]
) -> collections.Counter[MemoryEncryptionModel]:
    """Return the number of encrypted guests that run outside libvirt, by model.

    These are the guests that the kernel counts and libvirt does not list. The kernel
    does not distinguish SEV-ES from SEV-SNP; such guests count as SEV-ES.

    :param running: the models of the guests that libvirt lists.
    :param readings: ``misc.current`` before and after libvirt was queried. The lower
        number is used, because a guest may start or end in between.
    """
    models = list(running)
    plain = models.count(SEV)
    extra = {
        model: min((reading.get(key, 0) for reading in readings), default=0) - known
        for key, model, known in (
            (facts.MISC_SEV, SEV, plain),
            (facts.MISC_SEV_ES, SEV_ES, len(models) - plain),
        )
    }
    return collections.Counter({model: n for model, n in extra.items() if n > 0})


def reserve_resources(
    inventories: Mapping[str, Record], used: Iterable[Mapping[str, int]]
) -> dict[str, Record]:
    """Return inventories that reserve the resources of servers without allocations.

    :param inventories: the provider's inventories, by resource class.
    :param used: the resources of each of these servers, by resource class.
    """
    result = {name: dict(record) for name, record in inventories.items()}
    for resources in used:
        for name, amount in resources.items():
            if name not in result:
                continue
            record = result[name]
            unusable = math.ceil(amount / record.get("allocation_ratio", 1.0))
            reserved = record.get("reserved", 0) + unusable
            record["reserved"] = min(record["total"], reserved)
    return result
