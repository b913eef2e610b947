# SPDX-License-Identifier: Apache-2.0

"""Exchange the slot that Nova's scheduler claimed for one of the guest's model.

Up to Nova 31, and for a flavor with ``resources:MEM_ENCRYPTION_CONTEXT`` without a
trait, the scheduler claims a slot of any model. For a host, it is always a slot of the
same model: that of the provider that Placement returns first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import allocations as slot_allocations
from sev_driver.placement import providers

LOG = logging.getLogger(__name__)

#: How often to try if another service changes the guest's allocations.
_ATTEMPTS = 4


def exchange_slot(
    client: Any,
    context: Any,
    instance: objects.Instance,
    model: MemoryEncryptionModel,
) -> Mapping[str, Mapping[str, Any]] | None:
    """Move the guest's slot to the provider of ``model`` on the same host.

    Placement does this atomically.

    :param client: Nova's client of Placement.
    :returns: the guest's new allocations; None if no slot of ``model`` is free.
    :raises Exception: an exception of keystoneauth1 or Nova, if Placement does not
        answer.
    """
    uuid = instance.uuid
    for _ in range(_ATTEMPTS):
        record = client.get_allocs_for_consumer(context, uuid)
        allocations: Mapping[str, Mapping[str, Any]] = record["allocations"]
        moved = 0
        for source in slot_allocations.slot_providers(allocations):
            target = _find_target(client, context, source, model)
            if target is not None:
                moved += slot_allocations.move({uuid: record}, source, target)
        if not moved:
            return allocations
        try:
            if not client.put_allocations(context, uuid, record):
                return None
        except nova_exception.AllocationUpdateFailed:
            continue  # Another service has changed the allocations.
        LOG.info(
            "Exchanged the slot that Placement allocated for one of %s.",
            model.title,
            instance=instance,
        )
        return allocations
    return None


def has_free_slot(
    client: Any,
    context: Any,
    instance: objects.Instance,
    model: MemoryEncryptionModel,
) -> bool:
    """Return whether :func:`exchange_slot` would find a slot of ``model`` now.

    :raises Exception: an exception of keystoneauth1, if Placement does not answer.
    """
    held = client.get_allocs_for_consumer(context, instance.uuid)["allocations"]
    for source in slot_allocations.slot_providers(held):
        target = _find_target(client, context, source, model)
        if target is None:
            continue
        path = f"/resource_providers/{target}"
        stored = client.get(f"{path}/inventories/{slot_allocations.SLOT}").json()
        usages = client.get(f"{path}/usages").json()["usages"]
        used = usages.get(slot_allocations.SLOT, 0)
        if stored["total"] - stored["reserved"] > used:
            return True
    return False


def _find_target(
    client: Any, context: Any, source: str, model: MemoryEncryptionModel
) -> str | None:
    """Return the provider to move the slot of ``source`` to, None to leave it."""
    tree = client.get_providers_in_tree(context, source)
    names = {provider["uuid"]: provider["name"] for provider in tree}
    if not tree or providers.model_of_provider(names[source]) is model:
        return None
    return providers.find_provider(names, tree[0]["root_provider_uuid"], model)
