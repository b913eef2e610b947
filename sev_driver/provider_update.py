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


"""One update of the resource providers of a host's encryption slots."""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import Any

from nova import exception as nova_exception
from oslo_log import log

from sev_driver import inventory, reserved, reshape, slot_messages, slot_usage, traits
from sev_driver.capabilities import HostCapabilities, Support
from sev_driver.holders import Holders
from sev_driver.inventory import Offer
from sev_driver.ledger import Ledger
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel
from sev_driver.provider_names import ProviderNames
from sev_driver.reshape import SLOT, Allocations
from sev_driver.slot_usage import SlotUsage
from sev_driver.strangers import Strangers

LOG = log.getLogger(__name__)

#: These take their slots from one pool.
_SHARING = (SEV_ES, SEV_SNP)


class Update:
    """One update of the tree.

    :param tree: Nova's, of the host that ``names`` are of.
    :param allocations: as Nova gives them when slots may move from one provider
        to another, to be edited in place; None when they may not.
    """

    def __init__(
        self,
        tree: Any,
        names: ProviderNames,
        allocations: Allocations | None,
        ledger: Ledger,
        strangers: Strangers,
    ) -> None:
        self._ledger = ledger
        self._strangers = strangers
        self._tree = tree
        self._allocations = allocations
        self._names = names
        # Nova's driver is about to change these.
        self._had = {
            name: tree.data(name).inventory.get(SLOT)
            for name in (names.node, *map(names.child, MemoryEncryptionModel))
            if tree.exists(name)
        }
        stored = [name for name, had in self._had.items() if had is not None]
        self._holders = Holders(ledger, tree, names, allocations, stored)
        #: The inventory that each model was given, and whether it is an offer.
        self._entries: dict[
            MemoryEncryptionModel, tuple[dict[str, Any] | None, bool]
        ] = {}
        #: What is worth a line in the log, by provider.
        self.said: dict[str, tuple[int, str]] = {}

    def check(self) -> None:
        """:raises nova.exception.ReshapeNeeded: see :meth:`SlotProviders.begin`."""
        if self._allocations is not None or not self._had.get(self._names.leaving):
            return
        uuid = self._tree.data(self._names.leaving).uuid
        if self._ledger.holders(uuid):
            LOG.info(
                "Guests hold encryption slots of resource provider %s, which belong to "
                "%s: Nova is asked to move them.",
                self._names.leaving,
                self._names.place(SEV),
            )
            raise nova_exception.ReshapeNeeded()

    def apply(
        self, host: HostCapabilities, offer: Offer, static_traits: Container[str]
    ) -> None:
        self._move()
        kept_back = self._reserved(host, offer)
        for model in host:
            total = 0 if self._names.without(model) else offer[model].total
            wanted = (
                inventory.entry(total, kept_back.get(model, 0))
                if total
                else self._kept(model, host[model].support)
            )
            self._put(model, wanted)
            self._entries[model] = wanted, bool(total)
        self._root_traits(host, offer, static_traits)

    def usage(self, ask: bool) -> dict[MemoryEncryptionModel, SlotUsage]:
        """Return what has become of each model's slots, after :meth:`apply`.

        :param ask: whether Placement is asked who holds slots, where the update
            itself has not: of models that no guest runs with.
        """
        return {
            model: slot_usage.of(
                entry, self._holders.count(model, ask) if offered else 0, offered
            )
            for model, (entry, offered) in self._entries.items()
        }

    def _move(self) -> None:
        """Move guests' slots of plain SEV to the provider where they belong."""
        if self._allocations is None or not self._had.get(self._names.leaving):
            return
        source = self._tree.data(self._names.leaving).uuid
        if not reshape.holders(self._allocations, source):
            return
        place = self._names.place(SEV)
        if not self._tree.exists(place):
            self._tree.new_child(place, self._names.node)
        target = self._tree.data(place).uuid
        count = reshape.move(self._allocations, source, target)
        LOG.info(
            "%d encryption slots move from %s to %s", count, self._names.leaving, place
        )

    def _reserved(
        self, host: HostCapabilities, offer: Offer
    ) -> dict[MemoryEncryptionModel, int]:
        if not any(slots.total for slots in offer.values()):
            return {}  # Hosts without SEV pay for no look at their guests.
        uncovered = self._strangers.count(self._holders)
        if not uncovered and not self._shares(offer):
            return {}
        return reserved.reserve(
            host,
            offer,
            {
                model: reserved.Use(len(self._holders(model)), uncovered.get(model, 0))
                for model in MemoryEncryptionModel
            },
        )

    def _shares(self, offer: Offer) -> bool:
        """Tell whether guests of one model may hold what another is offered."""
        return any(
            self._had.get(self._names.place(model))
            and other in offer
            and offer[other].total
            for model, other in (_SHARING, _SHARING[::-1])
        )

    def _kept(
        self, model: MemoryEncryptionModel, support: Support
    ) -> dict[str, Any] | None:
        """What is left of a provider that offers nothing; None if it goes.

        It stays for the guests that hold its slots, and where it is not known
        whether the model is gone: what is taken away loses all that the operator
        has set on it.
        """
        had = self._had.get(self._names.place(model))
        held = len(self._holders(model))
        if held:
            return inventory.nothing_free(held)
        if had and support is Support.UNKNOWN and not self._names.without(model):
            return inventory.nothing_free(had["total"])
        return None

    def _put(self, model: MemoryEncryptionModel, wanted: dict[str, Any] | None) -> None:
        """Put a model's inventory where it belongs, and nothing elsewhere."""
        if wanted is not None and self._allocations is not None:
            wanted = inventory.roomy(wanted, len(self._holders(model)))
        place, own = self._names.place(model), self._names.child(model)
        if model is SEV:
            on_root = wanted if place == self._names.node else None
            root = dict(self._tree.data(self._names.node).inventory)
            root.pop(SLOT, None)
            root |= {} if on_root is None else {SLOT: on_root}
            self._tree.update_inventory(self._names.node, root)
        if place == own and wanted is not None:
            if not self._tree.exists(own):
                self._tree.new_child(own, self._names.node)
            self._tree.update_inventory(own, {SLOT: wanted})
            self._child_traits(own, model)
        elif self._tree.exists(own):
            self._tree.remove(own)
        self._tell(model, place, wanted)

    def _tell(
        self, model: MemoryEncryptionModel, place: str, wanted: dict[str, Any] | None
    ) -> None:
        level = logging.INFO
        if wanted is not None:
            text = "{total} encryption slots, {reserved} of them reserved"
            text = text.format(**wanted)
        elif self._had.get(place):
            text = "no encryption slots any more"
        else:
            return
        if wanted is not None and self._names.without(model):
            level = logging.WARNING
            text += f"; {slot_messages.held_beside_root(model)}"
        self.said[place] = level, text

    def _child_traits(self, name: str, model: MemoryEncryptionModel) -> None:
        """Set one trait of the model, and leave what the operator has set."""
        standard = traits.is_standard(model) and self._ledger.has_trait(model.trait)
        choice = traits.choose(model, standard)
        self._tree.add_traits(name, traits.OWNER, choice.wanted)
        self._tree.remove_traits(name, choice.unwanted)

    def _root_traits(
        self, host: HostCapabilities, offer: Offer, static_traits: Container[str]
    ) -> None:
        """Set what is ours to set, and leave all that the operator has."""
        offered = any(
            offer[model].total for model in host if not self._names.without(model)
        )
        unknown = any(host[model].support is Support.UNKNOWN for model in host)
        if offered:
            self._tree.add_traits(self._names.node, traits.HOST)
        elif not unknown:
            self._tree.remove_traits(self._names.node, traits.HOST)
        if self._names.on_root:
            if host[SEV].supported:
                self._tree.add_traits(self._names.node, SEV.trait)
            elif host[SEV].support is Support.NO:
                self._tree.remove_traits(self._names.node, SEV.trait)
        elif self._had[self._names.node] or SEV.trait in static_traits:
            self._tree.remove_traits(self._names.node, SEV.trait)
