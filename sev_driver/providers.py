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

from collections.abc import Container
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging

from sev_driver import inventory, releases, slot_options
from sev_driver.capabilities import HostCapabilities
from sev_driver.ledger import Ledger
from sev_driver.monitoring import Monitoring
from sev_driver.provider_names import ProviderNames
from sev_driver.provider_update import Update
from sev_driver.reshape import Allocations
from sev_driver.strangers import Strangers
from sev_driver.watch import Watch

LOG = logging.getLogger(__name__)


def others(nova_host: Any, host: HostCapabilities) -> dict[str, dict[str, Any]]:
    """Return what Nova shall make providers of itself: models not judged here.

    A total of 0 is Nova's word for "no such provider".
    """
    ours = {model.symbol for model in host}
    return {
        symbol: {
            **inventory.entry(found.get("total", 0) if found["supported"] else 0),
            "traits": found.get("traits", []),
        }
        for symbol, found in releases.reported_models(nova_host).items()
        if symbol not in ours
    }


class SlotProviders:
    """Keeps a provider for each model, as a child of the host's (see Nova 32).

    :param nova_host: Nova's libvirt Host.
    :param virtapi: Nova's VirtAPI.
    """

    def __init__(
        self, nova_host: Any, watch: Watch, virtapi: Any, monitoring: Monitoring
    ) -> None:
        self._watch = watch
        self._monitoring = monitoring
        # Slots move only when nova-compute starts.
        self._on_root: bool = CONF.sev.slots_on_root_provider
        self._ledger = Ledger(virtapi)
        self._strangers = Strangers(nova_host, self._ledger)
        self._told: dict[str, str] = {}

    def begin(
        self, tree: Any, nodename: str, allocations: Allocations | None
    ) -> Update:
        """Look at the tree before Nova's driver does.

        :raises nova.exception.ReshapeNeeded: guests hold slots of a provider that
            is to have none any more, and ``allocations`` is None.
        """
        names = ProviderNames(nodename, self._on_root)
        update = Update(tree, names, allocations, self._ledger, self._strangers)
        update.check()
        return update

    def finish(self, update: Update, static_traits: Container[str]) -> None:
        """Put all providers in order, after Nova's driver.

        :param static_traits: those of the host's provider that Nova's driver sets.
        """
        host = self._watch.capabilities()
        offer = inventory.offers(host, slot_options.caps(CONF))
        update.apply(host, offer, static_traits)
        for provider, (level, text) in update.said.items():
            if self._told.get(provider) != text:
                self._told[provider] = text
                LOG.log(level, "Resource provider %s: %s", provider, text)
        self._monitoring.report(host, update.usage(self._monitoring.wants_all))
