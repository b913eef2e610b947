# SPDX-License-Identifier: Apache-2.0

"""Query Placement for the new host of a move: its driver, and its slots.

The old host knows of the new one only the guest's allocations there. Stock Nova can
start a guest there in another way; see :func:`sev_driver.compute.verdict.decide`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_log import log as logging

from sev_driver.model import HOST_TRAIT
from sev_driver.placement import inventory
from sev_driver.placement.allocations import SLOT, slot_providers

LOG = logging.getLogger(__name__)

#: A guest's allocations, by the provider's uuid.
Allocations = Mapping[str, Mapping[str, Any]]


def lacks_driver(client: Any, context: Any, allocations: Allocations) -> bool | None:
    """Return whether the host of these allocations lacks this driver's trait.

    The result is None if Placement does not answer.

    :param client: Nova's client of Placement.
    """
    # Disks may be on a sharing provider, so the provider of slots is preferred.
    held = slot_providers(allocations) or list(allocations)
    try:
        tree = client.get_providers_in_tree(context, held[0])
        root = tree[0]["root_provider_uuid"]
        return HOST_TRAIT not in client.get_provider_traits(context, root).traits
    except Exception as error:
        LOG.warning("Cannot determine the driver of the new host: %s", error)
        return None


def has_lost_slots(client: Any, allocations: Allocations) -> bool:
    """Return whether a provider of the allocations has all its slots reserved.

    Only this driver does that, on a host that no longer supports the model. It removes
    its trait there, too, if no other model is left; the slots tell such a host from one
    with stock Nova. The result is False if Placement does not answer.

    :param client: Nova's client of Placement.
    """
    try:
        for uuid in slot_providers(allocations):
            answer = client.get(f"/resource_providers/{uuid}/inventories/{SLOT}")
            if inventory.is_fully_reserved(answer.json()):
                return True
    except Exception as error:
        LOG.info("Cannot determine whether the new host offers slots: %s", error)
    return False
