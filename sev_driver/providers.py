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
"""Nova's inventories of encryption slots, with our numbers for AMD SEV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nova.conf import CONF

from sev_driver import inventory
from sev_driver.capabilities import HostCapabilities

Inventories = dict[str, dict[str, Any]]


def inventories(nova_host: Any, host: HostCapabilities) -> Inventories:
    """Return an entry for each model, by the name that Nova's providers bear.

    Nova's own method formats numbers that libvirt older than 8.0 does not give,
    and fails; so this takes what it takes and leaves that out.
    """
    result = {
        symbol: _as_reported(attributes)
        for symbol, attributes in nova_host.get_mem_encryption_inventories().items()
    }
    for capability in host.values():
        slots = inventory.count(capability, CONF.libvirt.num_memory_encrypted_guests)
        result[capability.model.symbol] = inventory.as_nova(slots, capability)
    return result


def _as_reported(attributes: dict[str, Any]) -> dict[str, Any]:
    """A model that is Nova's matter: its number, and its traits."""
    total = attributes.get("total") if attributes["supported"] else 0
    return inventory.entry(total or 0) | {"traits": attributes.get("traits", [])}


def keep_held(
    entries: Inventories,
    host: HostCapabilities,
    provider_tree: Any,
    nodename: str,
    held_slots: Callable[[str], int],
) -> None:
    """Keep each provider that has no slots to offer, but guests that hold some.

    :param held_slots: asks Placement, by a provider's uuid.
    """
    for capability in host.values():
        symbol = capability.model.symbol
        name = f"{nodename}_{symbol}"
        if entries[symbol]["total"] or not provider_tree.exists(name):
            continue
        held = held_slots(provider_tree.data(name).uuid)
        if held:
            entries[symbol] = inventory.held(held, capability)
