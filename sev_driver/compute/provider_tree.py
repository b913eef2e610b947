# SPDX-License-Identifier: Apache-2.0

"""Observe the providers of a host's slots, and write the plan of provider_plan."""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Mapping, Set
from typing import Any, Final, NamedTuple

from nova import exception as nova_exception
from nova.conf import CONF
from oslo_log import log as logging

from sev_driver.compute import nova_compat
from sev_driver.compute.lost_allocations import LostAllocations, Providers, Restored
from sev_driver.compute.nova_compat import Provider
from sev_driver.compute.slot_consumers import (
    KnownConsumers,
    PlacementQueries,
    SlotConsumers,
)
from sev_driver.compute.unmanaged_guests import (
    NO_GUESTS,
    RunningGuests,
    UnmanagedGuests,
)
from sev_driver.conf import slots as slot_options
from sev_driver.conf import stock_nova
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import SEV, SEV_SNP, MemoryEncryptionModel
from sev_driver.placement import allocations as slot_allocations
from sev_driver.placement import inventory, provider_plan, providers, reserved
from sev_driver.placement.allocations import SLOT, Allocations
from sev_driver.placement.freshness import Situation
from sev_driver.placement.inventory import Offers, SlotLimits, SlotUsage
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
        #: Whether Placement lacks a trait that it can learn.
        self._lacks_trait = False
        self._stock_models = stock_models
        self._tree = tree
        self._names = names
        self._allocations = allocations
        self._placement = placement
        self._stored = self._providers()
        #: The providers as Nova's driver leaves them, see :meth:`continue_after_nova`.
        self._found: Mapping[str, Provider] = {}
        self._previous = {
            name: found.inventory.get(SLOT) for name, found in self._stored.items()
        }
        stored = [name for name, had in self._previous.items() if had is not None]
        # The host's own changes with each plain guest, too.
        self._generations = {name: self._stored[name].generation for name in stored}
        self.consumers = SlotConsumers(known, tree, names, allocations, stored)

    def _providers(self) -> dict[str, Provider]:
        """Return those of the host that can have slots, by name."""
        found = nova_compat.providers_under(self._tree, self._names.node)
        return {name: found[name] for name in self._names.all if name in found}

    def raise_if_reshape_needed(self) -> None:
        """Request a reshape from Nova if slots of a stale provider are allocated.

        :raises nova.exception.ReshapeNeeded: see :meth:`ProviderTreeReporter.prepare`.
        """
        stale = self._names.stale_provider
        if self._allocations is not None or not self._previous.get(stale):
            return
        if self._placement.consumers_of(self._stored[stale].uuid):
            LOG.info(
                "Guests hold encryption slots of resource provider %s that belong to "
                "%s. Requesting a reshape from Nova to move them.",
                stale,
                self._names.provider_for(SEV),
            )
            raise nova_exception.ReshapeNeeded()

    def continue_after_nova(self) -> None:
        """Read the tree as Nova's driver has changed it."""
        self._move_allocations()
        self._found = self._providers()

    @property
    def content(self) -> tuple[Any, ...]:
        """What this update has of the tree and of Nova, as one value to compare."""
        return self._names, self._stored, self._found, self._allocations

    def _move_allocations(self) -> None:
        """Move the allocations of a stale provider to the one that replaces it."""
        stale = self._names.stale_provider
        if self._allocations is None or not self._previous.get(stale):
            return
        source = self._stored[stale].uuid
        if not slot_allocations.consumers_of(self._allocations, source):
            return
        provider = self._names.provider_for(SEV)
        if not self._tree.exists(provider):
            self._tree.new_child(provider, self._names.node)
        target = self._tree.data(provider).uuid
        count = slot_allocations.move(self._allocations, source, target)
        self.has_changed = True
        LOG.info("Moving %d encryption slots from %s to %s", count, stale, provider)

    @property
    def is_quiet(self) -> bool:
        """True if an equal update would change nothing, and not query Placement."""
        is_reshape = self._allocations is not None
        return not (self.has_changed or self._lacks_trait or is_reshape)

    def observe(
        self, host: HostCapabilities, offers: Offers, snp_firmware: str | None = None
    ) -> Observation:
        snp = self._found.get(self._names.child(SEV_SNP))
        return Observation(
            host,
            offers,
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
        root = self._found[self._names.node]
        places = {model: self._names.provider_for(model) for model in host}
        slots = {
            model: self._stored[provider].uuid
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
            self._providers()[node].inventory, unallocated
        )
        self.has_changed |= self._tree.update_inventory(node, inventories)

    def write(self, plan: ProviderPlan) -> None:
        """Write ``plan`` into the tree."""
        changed = [self._write_root(self._found[self._names.node], plan)]
        for model, planned in plan.models.items():
            changed.append(self._write_child(model, planned))
        self.has_changed = self.has_changed or any(changed)

    def _write_root(self, root: Provider, plan: ProviderPlan) -> bool:
        """Write the slots and traits of the root provider.

        :param root: the provider after Nova's driver changed it.
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
            if child not in self._found:
                return False
            self._tree.remove(child)
            return True
        slots = {SLOT: planned.inventory}
        found = self._found.get(child)
        if found is None:
            self._tree.new_child(child, self._names.node)
            found = self._providers()[child]
        changed = found.inventory != slots and self._tree.update_inventory(child, slots)
        # The operator's traits stay.
        standard = providers.is_standard(model)
        known = standard and self._placement.has_trait(model.trait)
        self._lacks_trait |= standard and not known
        choice = providers.choose(model, known)
        wanted = {providers.OWNER, choice.wanted, *planned.traits.add}
        unwanted = {choice.unwanted, *planned.traits.remove}
        return self._write_traits(found, wanted, unwanted) or bool(changed)

    def _write_traits(self, found: Provider, add: Set[str], remove: Set[str]) -> bool:
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
    return {
        symbol: {
            **inventory.record(found.get("total", 0) if found["supported"] else 0),
            "traits": found.get("traits", []),
        }
        for symbol, found in nova_compat.reported_models(nova_host).items()
        if symbol not in _OWN
    }


_OWN: Final = frozenset(model.symbol for model in MemoryEncryptionModel)


class _QuietUpdate(NamedTuple):
    """An update that changed nothing, and all that it depended on but Placement."""

    circumstances: tuple[Any, ...]
    usage: dict[MemoryEncryptionModel, SlotUsage]


class ProviderTreeReporter:
    """Maintains a child provider for each model, as Nova 32 and later does.

    :param nova_host: Nova's libvirt Host.
    :param virtapi: Nova's VirtAPI.
    """

    def __init__(self, nova_host: Any, virtapi: Any) -> None:
        # Slots move only when nova-compute starts.
        preparation = stock_nova.preparation(CONF, nova_compat.installed_release())
        self._stock_models = preparation.stock_models
        self._placement = PlacementQueries(virtapi)
        self._known = KnownConsumers(
            self._placement, CONF.sev.allocation_check_interval
        )
        self._guests = UnmanagedGuests(nova_host, self._placement)
        self._lost_allocations = LostAllocations(virtapi)
        self._logged: dict[str, tuple[int, str]] = {}
        self._names = functools.cache(
            functools.partial(ProviderNames, on_root=preparation.slots_on_root)
        )
        self._offered: tuple[HostCapabilities, SlotLimits, Offers] | None = None
        self._quiet: _QuietUpdate | None = None

    def prepare(
        self, tree: Any, nodename: str, allocations: Allocations | None
    ) -> ProviderTreeUpdate:
        """Return an update, before Nova's driver changes the tree.

        :raises nova.exception.ReshapeNeeded: guests hold slots of a stale provider, and
            ``allocations`` is None.
        """
        self._placement.read = nova_compat.take_allocations(nodename)
        update = ProviderTreeUpdate(
            tree,
            self._names(nodename),
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
        update.continue_after_nova()
        offers = self._offers(host)
        guests = NO_GUESTS
        if provider_plan.needs_running_guests(offers):
            guests = self._guests.observe()
        circumstances = (
            host,
            offers,
            guests,
            snp_firmware,
            SEV.trait in static_traits,
            ask_placement,
            *update.content,
        )
        last, self._quiet = self._quiet, None
        if last and last.circumstances == circumstances and self._known.is_valid():
            self._quiet = last
            return last.usage
        seen = update.observe(host, offers, snp_firmware)
        # This can drop Placement's answers, so it precedes their first use.
        self._known.observe(update.situation(offers, guests))
        plan, is_in_order = self._plan(
            update, seen, guests, sets_sev_trait=SEV.trait in static_traits
        )
        self._log_changes(seen, plan)
        usage = {
            model: inventory.compute_usage(
                planned.inventory,
                update.consumers.count(model, ask=ask_placement)
                if planned.is_offered
                else 0,
                is_offered=planned.is_offered,
            )
            for model, planned in plan.models.items()
        }
        is_known = not ask_placement or all(u.used is not None for u in usage.values())
        if is_in_order and is_known and update.is_quiet:
            self._quiet = _QuietUpdate(circumstances, usage)
        return usage

    def _offers(self, host: HostCapabilities) -> Offers:
        """Return the slots to offer; the same object if nothing has changed."""
        limits = slot_options.slot_limits(CONF)
        last = self._offered
        if last is None or last[0] is not host or last[1] != limits:
            offers = inventory.compute_offers(host, limits)
            self._offered = last = host, limits, offers
        return last[2]

    def _plan(
        self,
        update: ProviderTreeUpdate,
        seen: Observation,
        guests: RunningGuests,
        *,
        sets_sev_trait: bool,
    ) -> tuple[ProviderPlan, bool]:
        """Write the plan; return it, and whether all guests hold the right slots."""
        consumers, found = update.consumers, Restored()

        def restore(lost: Mapping[str, MemoryEncryptionModel]) -> Set[str]:
            nonlocal found
            found = update.restore_allocations(lost, self._lost_allocations, seen.host)
            return found.servers

        unallocated: provider_plan.Counts = {}
        if provider_plan.needs_running_guests(seen.offers):
            if self._placement.read is not None and guests.without_slots(consumers.of):
                # Nova read them before libvirt listed the guests.
                consumers.forget()
            unallocated = self._guests.count_by_model(guests, consumers.of, restore)
        counted = provider_plan.models_to_count(seen, unallocated)
        held = {model: len(consumers.of(model)) for model in counted}
        plan = provider_plan.plan(
            seen, held, unallocated, sets_sev_trait=sets_sev_trait
        )
        is_in_order = provider_plan.is_in_order(
            seen, held, unallocated
        ) and not guests.without_slots(consumers.of)
        if not is_in_order:
            self._known.forget()
        update.write(plan)
        if found.unallocated:
            update.reserve(found.unallocated)
        return plan, is_in_order and not found.servers

    def _log_changes(self, seen: Observation, plan: ProviderPlan) -> None:
        for model, planned in plan.models.items():
            line = provider_plan.log_line(seen, model, planned)
            if line is not None and self._logged.get(planned.provider) != line:
                self._logged[planned.provider] = line
                LOG.log(*line)
