# SPDX-License-Identifier: Apache-2.0

"""Observe the providers of a host's slots, and write the plan of provider_plan."""

from __future__ import annotations

import collections
from collections.abc import Container, Iterable, Mapping, Set
from typing import Any

from nova import exception as nova_exception
from nova.conf import CONF
from oslo_log import log as logging

from sev_driver.compute import nova_compat
from sev_driver.compute.lost_allocations import LostAllocations, Providers, Restored
from sev_driver.compute.slot_consumers import (
    KnownConsumers,
    PlacementQueries,
    SlotConsumers,
)
from sev_driver.compute.unmanaged_guests import RunningGuests, UnmanagedGuests
from sev_driver.conf import slots as slot_options
from sev_driver.conf import stock_nova
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import SEV, SEV_SNP, MemoryEncryptionModel
from sev_driver.placement import allocations as slot_allocations
from sev_driver.placement import inventory, provider_plan, providers, reserved
from sev_driver.placement.allocations import SLOT, Allocations
from sev_driver.placement.freshness import Situation
from sev_driver.placement.inventory import Offers, SlotUsage
from sev_driver.placement.provider_plan import ModelPlan, Observation, ProviderPlan
from sev_driver.placement.providers import ProviderNames

LOG = logging.getLogger(__name__)


class ProviderTreeUpdate:
    """One update of Nova's tree. Create it before Nova's driver changes the tree.

    :param tree: Nova's ProviderTree.
    :param names: the names of the host's providers.
    :param allocations: the allocations that Nova passes for a reshape, to be changed in
        place; None if slots may not move.
    :param stock_models: see :class:`Observation`.
    """

    def __init__(
        self,
        tree: Any,
        names: ProviderNames,
        allocations: Allocations | None,
        placement: PlacementQueries,
        known: KnownConsumers,
        stock_models: frozenset[MemoryEncryptionModel] | None = None,
    ) -> None:
        #: Whether the tree has changed, apart from the changes of Nova's driver.
        self.has_changed = False
        self._stock_models = stock_models
        self._tree = tree
        self._names = names
        self._allocations = allocations
        self._placement = placement
        #: What Nova's driver changes in them is the inventory and traits of the root.
        self._found = found = {
            name: tree.data(name)
            for name in (names.node, *map(names.child, MemoryEncryptionModel))
            if tree.exists(name)
        }
        self._previous = {
            name: data.inventory.get(SLOT) for name, data in found.items()
        }
        stored = [name for name, had in self._previous.items() if had is not None]
        # The host's own changes with each plain guest, too.
        self._generations = {name: found[name].generation for name in stored}
        self.consumers = SlotConsumers(known, tree, names, allocations, stored)

    def raise_if_reshape_needed(self) -> None:
        """Request a reshape from Nova if slots of a stale provider are allocated.

        :raises nova.exception.ReshapeNeeded: see :meth:`ProviderTreeReporter.prepare`.
        """
        stale = self._names.stale_provider
        if self._allocations is not None or not self._previous.get(stale):
            return
        if self._placement.consumers_of(self._tree.data(stale).uuid):
            LOG.info(
                "Guests hold encryption slots of resource provider %s that belong to "
                "%s. Requesting a reshape from Nova to move them.",
                stale,
                self._names.provider_for(SEV),
            )
            raise nova_exception.ReshapeNeeded()

    def move_allocations(self) -> None:
        """Move the allocations of a stale provider to the one that replaces it."""
        stale = self._names.stale_provider
        if self._allocations is None or not self._previous.get(stale):
            return
        source = self._tree.data(stale).uuid
        if not slot_allocations.consumers_of(self._allocations, source):
            return
        provider = self._names.provider_for(SEV)
        if not self._tree.exists(provider):
            self._tree.new_child(provider, self._names.node)
        target = self._tree.data(provider).uuid
        count = slot_allocations.move(self._allocations, source, target)
        self.has_changed = True
        LOG.info("Moving %d encryption slots from %s to %s", count, stale, provider)

    def observe(
        self, host: HostCapabilities, snp_firmware: str | None = None
    ) -> Observation:
        snp = self._found.get(self._names.child(SEV_SNP))
        return Observation(
            host,
            inventory.compute_offers(host, slot_options.slot_limits(CONF)),
            self._names,
            self._previous,
            is_reshape=self._allocations is not None,
            stock_models=self._stock_models,
            snp_firmware=snp_firmware,
            snp_traits=frozenset(snp.traits if snp else ()),
        )

    def situation(self, offers: Offers, guests: RunningGuests) -> Situation:
        """Return what may have changed who holds slots, since the last update."""
        return Situation(
            frozenset(guests.running),
            guests.outside,
            {model: offer.total for model, offer in offers.items()},
            self._generations,
        )

    def restore_allocations(
        self,
        lost: Mapping[str, MemoryEncryptionModel],
        lost_allocations: LostAllocations,
        host: HostCapabilities,
    ) -> Restored:
        """Restore the allocations of servers, except during a reshape."""
        if self._allocations is not None:
            return Restored()
        root = self._tree.data(self._names.node)
        places = {model: self._names.provider_for(model) for model in host}
        slots = {
            model: self._tree.data(provider).uuid
            for model, provider in places.items()
            if self._previous.get(provider)
        }
        providers = Providers(self._names.node, root.uuid, root.inventory, slots)
        restored = lost_allocations.restore(lost, providers, host)
        if restored.servers:
            self.consumers.forget()
        return restored

    def reserve(self, unallocated: Iterable[Mapping[str, int]]) -> None:
        """Reserve the root provider's resources of servers without allocations."""
        node = self._names.node
        inventories = reserved.reserve_resources(
            self._tree.data(node).inventory, unallocated
        )
        self.has_changed |= self._tree.update_inventory(node, inventories)

    def write(self, plan: ProviderPlan) -> None:
        """Write ``plan`` into the tree."""
        root = self._tree.data(self._names.node)
        changed = [self._write_root(root, plan)]
        for model, planned in plan.models.items():
            changed.append(self._write_child(model, planned))
        self.has_changed = self.has_changed or any(changed)

    def _write_root(self, root: Any, plan: ProviderPlan) -> bool:
        """Write the slots and traits of the root provider.

        :param root: its data after Nova's driver changed it.
        """
        node, planned = self._names.node, plan.models.get(SEV)
        slots = None
        if planned is not None and planned.provider == node:
            slots = planned.inventory
        changed = False
        if planned is not None and (slots or SLOT in root.inventory):
            others = {key: root.inventory[key] for key in root.inventory if key != SLOT}
            inventories = {**others, SLOT: slots} if slots else others
            changed = bool(self._tree.update_inventory(node, inventories))
        traits = plan.root_traits
        return self._write_traits(root, traits.add, traits.remove) or changed

    def _write_child(self, model: MemoryEncryptionModel, planned: ModelPlan) -> bool:
        """Write a model's child provider, or remove it if its slots are elsewhere."""
        child = self._names.child(model)
        if planned.inventory is None or planned.provider != child:
            if not self._tree.exists(child):
                return False
            self._tree.remove(child)
            return True
        slots = {SLOT: planned.inventory}
        found = self._found.get(child)
        if found is None:
            if not self._tree.exists(child):
                self._tree.new_child(child, self._names.node)
            found = self._tree.data(child)
        changed = found.inventory != slots and self._tree.update_inventory(child, slots)
        # The operator's traits stay.
        known = providers.is_standard(model) and self._placement.has_trait(model.trait)
        choice = providers.choose(model, known)
        wanted = {providers.OWNER, choice.wanted, *planned.traits.add}
        unwanted = {choice.unwanted, *planned.traits.remove}
        return self._write_traits(found, wanted, unwanted) or bool(changed)

    def _write_traits(self, found: Any, add: Set[str], remove: Set[str]) -> bool:
        """Add and remove traits of a provider; return whether that changes it."""
        new, old = add - found.traits, remove & found.traits
        if new:
            self._tree.add_traits(found.name, *new)
        if old:
            self._tree.remove_traits(found.name, *old)
        return bool(new or old)


def other_vendors_inventories(nova_host: Any) -> dict[str, dict[str, Any]]:
    """Return the inventories of other vendors' models, whose providers Nova creates.

    For a total of 0 Nova creates no provider.
    """
    own = {model.symbol for model in MemoryEncryptionModel}
    return {
        symbol: {
            **inventory.record(found.get("total", 0) if found["supported"] else 0),
            "traits": found.get("traits", []),
        }
        for symbol, found in nova_compat.reported_models(nova_host).items()
        if symbol not in own
    }


class ProviderTreeReporter:
    """Maintains a child provider for each model, as Nova 32 and later does.

    :param nova_host: Nova's libvirt Host.
    :param virtapi: Nova's VirtAPI.
    """

    def __init__(self, nova_host: Any, virtapi: Any) -> None:
        # Slots move only when nova-compute starts.
        preparation = stock_nova.preparation(CONF, nova_compat.installed_release())
        self._on_root = preparation.slots_on_root
        self._stock_models = preparation.stock_models
        self._placement = PlacementQueries(virtapi)
        self._known = KnownConsumers(
            self._placement, CONF.sev.allocation_check_interval
        )
        self._guests = UnmanagedGuests(nova_host, self._placement)
        self._lost_allocations = LostAllocations(virtapi)
        self._logged: dict[str, tuple[int, str]] = {}

    def prepare(
        self, tree: Any, nodename: str, allocations: Allocations | None
    ) -> ProviderTreeUpdate:
        """Return an update, before Nova's driver changes the tree.

        :raises nova.exception.ReshapeNeeded: guests hold slots of a stale provider, and
            ``allocations`` is None.
        """
        names = ProviderNames(nodename, self._on_root)
        update = ProviderTreeUpdate(
            tree,
            names,
            allocations,
            self._placement,
            self._known,
            self._stock_models,
        )
        update.raise_if_reshape_needed()
        return update

    def apply(
        self,
        update: ProviderTreeUpdate,
        host: HostCapabilities,
        static_traits: Container[str],
        *,
        ask_placement: bool,
        snp_firmware: str | None = None,
    ) -> dict[MemoryEncryptionModel, SlotUsage]:
        """Write all providers, after Nova's driver; return the usage of the slots.

        :param static_traits: the traits that Nova's driver sets on the root provider.
        :param ask_placement: true to query Placement also for the consumers of models
            that no guest uses, which the update itself does not need.
        :param snp_firmware: the SHA-256 of the guest firmware for SEV-SNP, None if
            unknown.
        """
        update.move_allocations()
        seen, consumers = update.observe(host, snp_firmware), update.consumers
        found = Restored()

        def restore(lost: Mapping[str, MemoryEncryptionModel]) -> Set[str]:
            nonlocal found
            found = update.restore_allocations(lost, self._lost_allocations, host)
            return found.servers

        guests = RunningGuests({}, collections.Counter())
        unallocated: provider_plan.Counts = {}
        needs_guests = provider_plan.needs_running_guests(seen.offers)
        if needs_guests:
            guests = self._guests.observe()
        # This can drop Placement's answers, so it precedes their first use.
        self._known.observe(update.situation(seen.offers, guests))
        if needs_guests:
            unallocated = self._guests.count_by_model(guests, consumers.of, restore)
        counted = provider_plan.models_to_count(seen, unallocated)
        held = {model: len(consumers.of(model)) for model in counted}
        plan = provider_plan.plan(
            seen, held, unallocated, sets_sev_trait=SEV.trait in static_traits
        )
        if not (
            provider_plan.is_in_order(seen, held, unallocated)
            and not guests.without_slots(consumers.of)
        ):
            self._known.forget()
        update.write(plan)
        if found.unallocated:
            update.reserve(found.unallocated)
        self._log_changes(seen, plan)
        return {
            model: inventory.compute_usage(
                planned.inventory,
                consumers.count(model, ask=ask_placement) if planned.is_offered else 0,
                is_offered=planned.is_offered,
            )
            for model, planned in plan.models.items()
        }

    def _log_changes(self, seen: Observation, plan: ProviderPlan) -> None:
        for model, planned in plan.models.items():
            line = provider_plan.log_line(seen, model, planned)
            if line is not None and self._logged.get(planned.provider) != line:
                self._logged[planned.provider] = line
                LOG.log(*line)
