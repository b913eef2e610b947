# SPDX-License-Identifier: Apache-2.0

"""Plan the inventories and traits of a host's resource providers.

compute/provider_tree observes the host, calls :func:`plan`, and writes the plan into
Nova's provider tree.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

from sev_driver.host.capabilities import HostCapabilities, Support
from sev_driver.model import HOST_TRAIT, SEV, SEV_SNP, MemoryEncryptionModel
from sev_driver.placement import inventory, reserved
from sev_driver.placement.inventory import Offers, Record
from sev_driver.placement.pools import pools_of
from sev_driver.placement.providers import (
    FIRMWARE_TRAIT,
    ProviderNames,
    firmware_trait,
)
from sev_driver.placement.reserved import ModelUsage

#: The inventory of slots of each existing provider, None for one without slots.
Inventories = Mapping[str, "Record | None"]

Counts = Mapping[MemoryEncryptionModel, int]


@dataclasses.dataclass(frozen=True)
class Observation:
    """The facts before an update.

    ``previous`` are the inventories in Placement. ``is_reshape`` is true if Nova moves
    allocations with this update. ``stock_models`` are the models that Nova's own driver
    supports if the host is prepared for it, else None. ``snp_firmware`` is the SHA-256
    of the guest firmware for SEV-SNP, None if unknown; ``snp_traits`` are the traits of
    the provider of SEV-SNP.
    """

    host: HostCapabilities
    offers: Offers
    names: ProviderNames
    previous: Inventories
    is_reshape: bool = False
    stock_models: frozenset[MemoryEncryptionModel] | None = None
    snp_firmware: str | None = None
    snp_traits: frozenset[str] = frozenset()

    def is_withheld(self, model: MemoryEncryptionModel) -> bool:
        """Return whether ``model`` is withheld, because Nova's driver lacks it."""
        return self.stock_models is not None and model not in self.stock_models


@dataclasses.dataclass(frozen=True)
class TraitChanges:
    """The traits to add and to remove; all others stay as the operator set them."""

    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class ModelPlan:
    """The planned slots of one model.

    ``provider`` is the name of their provider. If ``inventory`` is None, the provider
    gets no slots; a child provider is removed. ``is_offered`` is False for slots that
    are only retained. ``traits`` are the changes to the provider's traits, without that
    of the model.
    """

    provider: str
    inventory: Record | None
    is_offered: bool
    traits: TraitChanges = TraitChanges()


@dataclasses.dataclass(frozen=True)
class ProviderPlan:
    """The planned slots by model, and the trait changes of the root provider."""

    models: Mapping[MemoryEncryptionModel, ModelPlan]
    root_traits: TraitChanges


def needs_running_guests(offers: Offers) -> bool:
    """Return whether the running guests must be read: not on a host without SEV."""
    return any(offer.total for offer in offers.values())


def models_to_count(
    seen: Observation, unallocated: Counts
) -> frozenset[MemoryEncryptionModel]:
    """Return the models whose consumers :func:`plan` needs.

    Each can cost a query to Placement.

    :param unallocated: the number of running guests without an allocation, by model.
    """
    if seen.is_reshape or any(unallocated.values()) or _may_hold_of_another(seen):
        return frozenset(seen.host)
    return frozenset(model for model in seen.host if not _offered(seen, model))


def plan(
    seen: Observation,
    consumers: Counts,
    unallocated: Counts,
    *,
    sets_sev_trait: bool = False,
) -> ProviderPlan:
    """Return the planned inventories and traits.

    :param consumers: the number of consumers, for each of :func:`models_to_count`.
    :param unallocated: the number of running guests without an allocation, by model.
    :param sets_sev_trait: true if Nova's driver sets the trait of plain SEV on the root
        provider.
    """
    to_reserve: Counts = {}
    if any(unallocated.values()) or _may_hold_of_another(seen):
        usage = {
            model: ModelUsage(consumers[model], unallocated.get(model, 0))
            for model in seen.host
        }
        to_reserve = reserved.compute_reserved(pools_of(seen.host), seen.offers, usage)
    models = {}
    for model in seen.host:
        total = _offered(seen, model)
        planned = (
            inventory.record(total, to_reserve.get(model, 0))
            if total
            else _retained(seen, model, consumers[model])
        )
        if planned is not None and seen.is_reshape:
            planned = inventory.with_room_for(planned, consumers[model])
        provider = seen.names.provider_for(model)
        traits = _firmware_traits(seen) if model is SEV_SNP else TraitChanges()
        models[model] = ModelPlan(provider, planned, bool(total), traits)
    return ProviderPlan(models, _root_traits(seen, sets_sev_trait=sets_sev_trait))


def is_in_order(seen: Observation, consumers: Counts, unallocated: Counts) -> bool:
    """Return whether all guests hold slots, and only slots that are offered.

    Then the plan changes only with a change on this host. Otherwise it depends on the
    number of consumers, which can change in Placement alone.

    :param consumers: as for :func:`plan`.
    :param unallocated: as for :func:`plan`.
    """
    return not any(unallocated.values()) and all(
        held <= _offered(seen, model) for model, held in consumers.items()
    )


def log_line(
    seen: Observation, model: MemoryEncryptionModel, planned: ModelPlan
) -> tuple[int, str] | None:
    """Return the level and text of a model's log line, None if it has no slots."""
    if planned.inventory is None:
        if not seen.previous.get(planned.provider):
            return None
        return logging.INFO, _text(planned.provider, "encryption slots removed")
    text = "{total} encryption slots, {reserved} of them reserved"
    text = text.format(**planned.inventory)
    if not seen.is_withheld(model):
        return logging.INFO, _text(planned.provider, text)
    text = f"{text}; {held_though_withheld(model)}"
    return logging.WARNING, _text(planned.provider, text)


def _text(provider: str, text: str) -> str:
    return f"Resource provider {provider}: {text}"


def held_though_withheld(model: MemoryEncryptionModel) -> str:
    """Return the warning about guests whose model Nova's own driver lacks."""
    return (
        f"{model.title} is not offered ([sev] prepare_for_stock_nova), but guests hold "
        f"its slots, and Nova's own driver does not support it: delete, resize or "
        f"migrate them before you change compute_driver"
    )


def _offered(seen: Observation, model: MemoryEncryptionModel) -> int:
    return 0 if seen.is_withheld(model) else seen.offers[model].total


def _may_hold_of_another(seen: Observation) -> bool:
    """Return whether guests of one model can hold slots that another is offered."""
    return any(
        seen.previous.get(seen.names.provider_for(model))
        and other in seen.offers
        and seen.offers[other].total
        for pool in pools_of(seen.host)
        for model in pool.models
        for other in pool.models
        if other is not model
    )


def _retained(
    seen: Observation, model: MemoryEncryptionModel, held: int
) -> Record | None:
    """Return the inventory to retain of a model that is not offered, None if no slots.

    Slots are retained for the guests that hold them, and while it is unknown whether
    the host supports the model: a provider that is deleted loses the operator's
    settings.
    """
    if held:
        return inventory.fully_reserved(held)
    previous = seen.previous.get(seen.names.provider_for(model))
    unknown = seen.host[model].support is Support.UNKNOWN
    if previous and unknown and not seen.is_withheld(model):
        return inventory.fully_reserved(previous["total"])
    return None


def _firmware_traits(seen: Observation) -> TraitChanges:
    """Return the changes to the trait that names the guest firmware for SEV-SNP.

    An image can require it, so it is removed if the firmware is unknown. Nova's own
    driver would not remove it.
    """
    wanted: frozenset[str] = frozenset()
    if seen.snp_firmware is not None and seen.stock_models is None:
        wanted = frozenset({firmware_trait(seen.snp_firmware)})
    own = frozenset(t for t in seen.snp_traits if t.startswith(FIRMWARE_TRAIT))
    return TraitChanges(wanted, own - wanted)


def _root_traits(seen: Observation, *, sets_sev_trait: bool) -> TraitChanges:
    """Return the changes to the root provider's traits that this driver manages.

    The trait of plain SEV is on the root provider only if the slots are there: with
    Nova 31 and older, operators schedule by it.
    """
    add, remove = set(), set()
    if seen.stock_models is not None:
        # Nova's own driver would not remove the trait, and flavors can require it.
        remove.add(HOST_TRAIT)
    elif any(_offered(seen, model) for model in seen.host):
        add.add(HOST_TRAIT)
    elif all(seen.host[model].support is not Support.UNKNOWN for model in seen.host):
        remove.add(HOST_TRAIT)
    if seen.names.on_root:
        if seen.host[SEV].supported:
            add.add(SEV.trait)
        elif seen.host[SEV].support is Support.NO:
            remove.add(SEV.trait)
    elif seen.previous.get(seen.names.node) or sets_sev_trait:
        remove.add(SEV.trait)
    return TraitChanges(frozenset(add), frozenset(remove))
