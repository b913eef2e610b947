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


"""Running guests whose slots no allocation in Placement accounts for."""

from __future__ import annotations

import collections
from collections.abc import Callable, Set
from typing import Any

from oslo_log import log as logging

from sev_driver import kernel, occupants, slot_messages
from sev_driver.ledger import Ledger
from sev_driver.model import MemoryEncryptionModel
from sev_driver.running import Run, RunningGuests

LOG = logging.getLogger(__name__)

#: Who holds slots of a model in Placement: servers, and migrations of servers.
Holders = Callable[[MemoryEncryptionModel], Set[str]]


class Strangers:
    """Those that others started, and those of Nova's that Placement has lost.

    Each is looked up once in its run: the database is asked only of guests that
    are new, or that Placement has just lost.

    :param nova_host: Nova's libvirt Host.
    """

    def __init__(self, nova_host: Any, ledger: Ledger) -> None:
        self._running = RunningGuests(nova_host)
        self._ledger = ledger
        self._known: frozenset[Run] = frozenset()
        self._unseen: collections.Counter[MemoryEncryptionModel] = collections.Counter()

    def count(self, holders: Holders) -> collections.Counter[MemoryEncryptionModel]:
        """Return how many of each model run."""
        before = kernel.read_misc_current()
        running = self._running.look()
        more = occupants.unseen(running.values(), before, kernel.read_misc_current())
        uncovered = {
            run for run, model in running.items() if run[0] not in holders(model)
        }
        new = uncovered - self._known
        if new:
            uncovered -= new - self._confirmed(new, holders)
            self._tell(uncovered & new)
        self._known = frozenset(uncovered)
        self._tell_of_unseen(more)
        return collections.Counter(running[run] for run in uncovered) + more

    def _confirmed(self, new: Set[Run], holders: Holders) -> frozenset[Run]:
        """Return those that run still, and of which no migration holds the slot."""
        running = self._running.look()
        new &= running.keys()
        unknown = {uuid for run in new for uuid in holders(running[run])}
        moving = self._ledger.moving(unknown) if unknown else {}
        return frozenset(
            run
            for run in new
            if not any(moving.get(holder) == run[0] for holder in holders(running[run]))
        )

    def _tell(self, found: Set[Run]) -> None:
        if not found:
            return
        novas = self._ledger.instances(uuid for uuid, _ in found)
        for uuid in sorted(uuid for uuid, _ in found):
            if uuid in novas:
                LOG.warning(slot_messages.allocation_lost(uuid))
            else:
                LOG.info(slot_messages.stranger(uuid))

    def _tell_of_unseen(self, more: collections.Counter[MemoryEncryptionModel]) -> None:
        if more != self._unseen:
            self._unseen = more
            plain = more[MemoryEncryptionModel.AMD_SEV]
            LOG.info(slot_messages.unseen(plain, sum(more.values()) - plain))
