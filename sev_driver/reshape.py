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


"""Allocations in Placement's own terms: who holds slots, and where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: os_resource_classes.MEM_ENCRYPTION_CONTEXT
SLOT = "MEM_ENCRYPTION_CONTEXT"

#: What Nova hands to update_provider_tree: a consumer's uuid, and its record.
Allocations = Mapping[str, dict[str, Any]]


def holders(allocations: Allocations, provider: str) -> frozenset[str]:
    """Return the consumers that hold a slot of ``provider``, by its uuid."""
    return frozenset(
        consumer
        for consumer, record in allocations.items()
        if SLOT in _resources(record, provider)
    )


def move(allocations: Allocations, source: str, target: str) -> int:
    """Move all slots of one provider to another, in place; return how many.

    Everything else in the records stays as it is.
    """
    moved = 0
    for record in allocations.values():
        slots = _resources(record, source).pop(SLOT, 0)
        if not slots:
            continue
        providers = record["allocations"]
        if not providers[source]["resources"]:
            # Placement wants at least one resource, or no provider.
            del providers[source]
        resources = providers.setdefault(target, {"resources": {}})["resources"]
        resources[SLOT] = resources.get(SLOT, 0) + slots
        moved += slots
    return moved


def _resources(record: dict[str, Any], provider: str) -> dict[str, int]:
    found: dict[str, int] = record["allocations"].get(provider, {}).get("resources", {})
    return found
