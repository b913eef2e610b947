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

"""Who holds this host's slots in Placement, asked once in an update."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from oslo_log import log as logging

from sev_driver import reshape
from sev_driver.ledger import Ledger
from sev_driver.model import MemoryEncryptionModel
from sev_driver.provider_names import ProviderNames
from sev_driver.reshape import Allocations

LOG = logging.getLogger(__name__)


class Holders:
    """Call it with a model, for the consumers that hold a slot of it.

    :param tree: Nova's, of the host.
    :param allocations: as Nova gives them when slots may move.
    :param stored: the providers whose slots are in Placement already.
    """

    def __init__(
        self,
        ledger: Ledger,
        tree: Any,
        names: ProviderNames,
        allocations: Allocations | None,
        stored: Collection[str],
    ) -> None:
        self._ledger = ledger
        self._tree = tree
        self._names = names
        self._allocations = allocations
        self._stored = stored
        self._found: dict[MemoryEncryptionModel, frozenset[str]] = {}

    def __call__(self, model: MemoryEncryptionModel) -> frozenset[str]:
        """:raises: see :meth:`Ledger.holders`."""
        if model not in self._found:
            self._found[model] = self._find(model)
        return self._found[model]

    def _find(self, model: MemoryEncryptionModel) -> frozenset[str]:
        place = self._names.place(model)
        if not self._tree.exists(place):
            return frozenset()
        uuid = self._tree.data(place).uuid
        if self._allocations is not None:
            return reshape.holders(self._allocations, uuid)
        # One that has just been put into the tree is not yet in Placement.
        return self._ledger.holders(uuid) if place in self._stored else frozenset()

    def count(self, model: MemoryEncryptionModel, ask: bool) -> int | None:
        """Return how many there are; None if that is not known.

        :param ask: whether Placement is asked, if it has not been. Where it does
            not answer, that is no reason for an update to fail.
        """
        known = model in self._found or self._allocations is not None
        if not known and not ask and self._names.place(model) in self._stored:
            return None
        try:
            return len(self(model))
        except Exception as error:
            LOG.warning("Who holds slots of %s is not known: %s", model.title, error)
            return None
