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


"""The resource providers of one host's encryption slots."""

from __future__ import annotations

import functools
from collections.abc import Container
from typing import Any

from nova import exception as nova_exception
from nova.conf import CONF
from oslo_log import log as logging

from sev_driver import inventory, reserved, reshape, slot_options, traits
from sev_driver.capabilities import HostCapabilities, Support
from sev_driver.inventory import Offer
from sev_driver.ledger import Ledger
from sev_driver.model import MemoryEncryptionModel
from sev_driver.reshape import SLOT, Allocations
from sev_driver.strangers import Strangers
from sev_driver.watch import Watch

LOG = logging.getLogger(__name__)

_SEV = MemoryEncryptionModel.AMD_SEV


def others(nova_host: Any, host: HostCapabilities) -> dict[str, dict[str, Any]]:
    """Return what Nova 34 shall make providers of itself: models not judged here.

    Its own method formats numbers that libvirt older than 8.0 does not give, and
    fails. A total of 0 is its word for "no such provider".
    """
    ours = {model.symbol for model in host}
    read = getattr(nova_host, "get_mem_encryption_inventories", dict)
    try:
        reported: dict[str, dict[str, Any]] = read()
    except TypeError:
        # Nova 34, where SEV-SNP is on and libvirt names no type of launchSecurity.
        # Such a host is AMD's: there is nothing else on it to report.
        reported = {}
    return {
        symbol: {
            **inventory.entry(found.get("total", 0) if found["supported"] else 0),
            "traits": found.get("traits", []),
        }
        for symbol, found in reported.items()
        if symbol not in ours
    }


class SlotProviders:
    """Keeps a provider for each model, as a child of the host's (see Nova 32).

    :param nova_host: Nova's libvirt Host.
    :param virtapi: Nova's VirtAPI.
    """

    def __init__(self, nova_host: Any, watch: Watch, virtapi: Any) -> None:
        self._watch = watch
        # Slots move only when nova-compute starts.
        self.on_root: bool = CONF.sev.slots_on_root_provider
        self.ledger = Ledger(virtapi)
        self.strangers = Strangers(nova_host, self.ledger)
        self._told: dict[str, str] = {}

    def begin(
        self, tree: Any, nodename: str, allocations: Allocations | None
    ) -> Update:
        """Look at the tree before Nova's driver does.

        :raises nova.exception.ReshapeNeeded: guests hold slots of a provider that
            is to have none any more, and ``allocations`` is None.
        """
        update = Update(self, tree, nodename, allocations)
        update.check()
        return update

    def finish(self, update: Update, static_traits: Container[str]) -> None:
        """Put all providers in order, after Nova's driver.

        :param static_traits: those of the host's provider that Nova's driver sets.
        """
        host = self._watch.capabilities()
        offer = inventory.offers(host, slot_options.caps(CONF))
        update.apply(host, offer, static_traits)

    def tell(self, provider: str, text: str) -> None:
        """Log what a provider has, once."""
        if self._told.get(provider) != text:
            self._told[provider] = text
            LOG.info("Resource provider %s: %s", provider, text)


class Update:
    """One update of the tree.

    :param allocations: as Nova gives them when slots may move from one provider
        to another, to be edited in place; None when they may not.
    """

    def __init__(
        self,
        slots: SlotProviders,
        tree: Any,
        nodename: str,
        allocations: Allocations | None,
    ) -> None:
        self._slots = slots
        self._tree = tree
        self._node = nodename
        self._allocations = allocations
        self._on_root = slots.on_root
        # Nova's driver is about to change these.
        names = [nodename, *map(self._child, MemoryEncryptionModel)]
        self._had = {
            name: tree.data(name).inventory.get(SLOT)
            for name in names
            if tree.exists(name)
        }
        self._holders = functools.cache(self._find_holders)

    def _child(self, model: MemoryEncryptionModel) -> str:
        return f"{self._node}_{model.symbol}"

    def _place(self, model: MemoryEncryptionModel) -> str:
        """The name of the provider where the model's slots belong."""
        return self._node if self._on_root and model is _SEV else self._child(model)

    @property
    def _leaving(self) -> str:
        """The name of the provider that is to have no slots of plain SEV."""
        return self._child(_SEV) if self._on_root else self._node

    def check(self) -> None:
        """:raises nova.exception.ReshapeNeeded: see :meth:`SlotProviders.begin`."""
        if self._allocations is not None or not self._had.get(self._leaving):
            return
        uuid = self._tree.data(self._leaving).uuid
        if self._slots.ledger.holders(uuid):
            LOG.info(
                "Guests hold encryption slots of resource provider %s, which belong to "
                "%s: Nova is asked to move them.",
                self._leaving,
                self._place(_SEV),
            )
            raise nova_exception.ReshapeNeeded()

    def apply(
        self, host: HostCapabilities, offer: Offer, static_traits: Container[str]
    ) -> None:
        self._move()
        kept_back = self._reserved(host, offer)
        for model in host:
            total = 0 if self._elsewhere(model) else offer[model].total
            self._put(
                model,
                inventory.entry(total, kept_back.get(model, 0))
                if total
                else self._kept(model, host[model].support),
            )
        self._root_traits(host, offer, static_traits)

    def _elsewhere(self, model: MemoryEncryptionModel) -> bool:
        """Nova 31 and older has one pool on the host's provider: that of SEV."""
        return self._on_root and model is not _SEV

    def _move(self) -> None:
        """Move guests' slots of plain SEV to the provider where they belong."""
        if self._allocations is None or not self._had.get(self._leaving):
            return
        source = self._tree.data(self._leaving).uuid
        if not reshape.holders(self._allocations, source):
            return
        place = self._place(_SEV)
        if not self._tree.exists(place):
            self._tree.new_child(place, self._node)
        target = self._tree.data(place).uuid
        count = reshape.move(self._allocations, source, target)
        LOG.info("%d encryption slots move from %s to %s", count, self._leaving, place)

    def _find_holders(self, model: MemoryEncryptionModel) -> frozenset[str]:
        place = self._place(model)
        if not self._tree.exists(place):
            return frozenset()
        uuid = self._tree.data(place).uuid
        if self._allocations is not None:
            return reshape.holders(self._allocations, uuid)
        # One that has just been put into the tree is not yet in Placement.
        known = self._had.get(place) is not None
        return self._slots.ledger.holders(uuid) if known else frozenset()

    def _reserved(
        self, host: HostCapabilities, offer: Offer
    ) -> dict[MemoryEncryptionModel, int]:
        uncovered = self._slots.strangers.count(self._holders)
        if not uncovered:
            return {}
        return reserved.reserve(
            host,
            offer,
            {
                model: reserved.Use(len(self._holders(model)), uncovered.get(model, 0))
                for model in MemoryEncryptionModel
            },
        )

    def _kept(
        self, model: MemoryEncryptionModel, support: Support
    ) -> dict[str, Any] | None:
        """What is left of a provider that offers nothing; None if it goes.

        It stays for the guests that hold its slots, and where it is not known
        whether the model is gone: what is taken away loses all that the operator
        has set on it.
        """
        had = self._had.get(self._place(model))
        held = len(self._holders(model))
        if held:
            return inventory.nothing_free(held)
        if had and support is Support.UNKNOWN and not self._elsewhere(model):
            return inventory.nothing_free(had["total"])
        return None

    def _put(self, model: MemoryEncryptionModel, wanted: dict[str, Any] | None) -> None:
        """Put a model's inventory where it belongs, and nothing elsewhere."""
        if wanted is not None and self._allocations is not None:
            wanted = inventory.roomy(wanted, len(self._holders(model)))
        place, own = self._place(model), self._child(model)
        if model is _SEV:
            on_root = wanted if place == self._node else None
            root = dict(self._tree.data(self._node).inventory)
            root.pop(SLOT, None)
            root |= {} if on_root is None else {SLOT: on_root}
            self._tree.update_inventory(self._node, root)
        if place == own and wanted is not None:
            if not self._tree.exists(own):
                self._tree.new_child(own, self._node)
            self._tree.update_inventory(own, {SLOT: wanted})
            self._child_traits(own, model)
        elif self._tree.exists(own):
            self._tree.remove(own)
        self._tell(place, wanted)

    def _tell(self, place: str, wanted: dict[str, Any] | None) -> None:
        if wanted is None and not self._had.get(place):
            return
        if wanted is None:
            text = "no encryption slots any more"
        else:
            text = "{total} encryption slots, {reserved} of them reserved".format(
                **wanted
            )
        self._slots.tell(place, text)

    def _child_traits(self, name: str, model: MemoryEncryptionModel) -> None:
        """Set one trait of the model, and leave what the operator has set."""
        standard = traits.is_standard(model) and self._slots.ledger.has_trait(
            model.trait
        )
        choice = traits.choose(model, standard)
        self._tree.add_traits(name, traits.OWNER, choice.wanted)
        self._tree.remove_traits(name, choice.unwanted)

    def _root_traits(
        self, host: HostCapabilities, offer: Offer, static_traits: Container[str]
    ) -> None:
        """Set what is ours to set, and leave all that the operator has."""
        offered = any(
            offer[model].total for model in host if not self._elsewhere(model)
        )
        change = self._tree.add_traits if offered else self._tree.remove_traits
        change(self._node, traits.HOST)
        if self._on_root:
            on = _SEV in host and host[_SEV].supported
            change = self._tree.add_traits if on else self._tree.remove_traits
            change(self._node, _SEV.trait)
        elif self._had[self._node] or _SEV.trait in static_traits:
            self._tree.remove_traits(self._node, _SEV.trait)
