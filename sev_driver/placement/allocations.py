# SPDX-License-Identifier: Apache-2.0


"""Allocation records of Placement: their consumers, moves and checks."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from sev_driver.exceptions import Requirement, Violation
from sev_driver.guest.requirements import ForeignRequest, GuestRequest, UnmetRequirement
from sev_driver.model import ForeignModel, MemoryEncryptionModel
from sev_driver.placement import providers

#: os_resource_classes.MEM_ENCRYPTION_CONTEXT
SLOT = "MEM_ENCRYPTION_CONTEXT"

#: The remedy if the scheduler did not request a slot.
SET_RESOURCES = f"set resources:{SLOT}=1 on the flavor"

#: The allocations that Nova passes to update_provider_tree, by the consumer's uuid.
Allocations = Mapping[str, dict[str, Any]]


def consumers_of(allocations: Allocations, provider: str) -> frozenset[str]:
    """Return the consumers of slots of a provider.

    :param provider: the provider's uuid.
    """
    return frozenset(
        consumer
        for consumer, record in allocations.items()
        if SLOT in _resources(record, provider)
    )


def move(allocations: Allocations, source: str, target: str) -> int:
    """Move all slots from one provider to another, in place; return their number.

    :param source: the uuid of the provider to move from.
    :param target: the uuid of the provider to move to.
    """
    moved = 0
    for record in allocations.values():
        slots = _resources(record, source).pop(SLOT, 0)
        if not slots:
            continue
        providers = record["allocations"]
        if not providers[source]["resources"]:
            # Placement does not accept a provider without resources.
            del providers[source]
        resources = providers.setdefault(target, {"resources": {}})["resources"]
        resources[SLOT] = resources.get(SLOT, 0) + slots
        moved += slots
    return moved


def on_root(
    resources: Mapping[str, int], root_classes: Container[str]
) -> dict[str, int]:
    """Return the resources that a server uses of the root provider.

    :param resources: the resources that its flavor requests, merged.
    :param root_classes: the resource classes in the root provider's inventory. Disks
        can be in that of a sharing provider.
    """
    return {
        name: amount
        for name, amount in resources.items()
        if amount and name != SLOT and name in root_classes
    }


def for_server(
    own: Mapping[str, int], root: str, slots: str
) -> dict[str, dict[str, Any]]:
    """Return the allocations of an encrypted server, by provider.

    :param own: the resources of the root provider, see :func:`on_root`.
    :param root: the uuid of the root provider.
    :param slots: the uuid of the provider with the slots of the server's model; it can
        be the root provider.
    """
    held: dict[str, dict[str, Any]] = {root: {"resources": dict(own)}} if own else {}
    held.setdefault(slots, {"resources": {}})["resources"][SLOT] = 1
    return held


def _resources(record: dict[str, Any], provider: str) -> dict[str, int]:
    found: dict[str, int] = record["allocations"].get(provider, {}).get("resources", {})
    return found


def slot_providers(allocations: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the uuids of the providers whose slots one server holds."""
    return [uuid for uuid, each in allocations.items() if SLOT in each["resources"]]


def without_slots_elsewhere(
    allocations: Mapping[str, Mapping[str, Any]],
    provider_name: Callable[[str], str],
    node: str,
) -> dict[str, Mapping[str, Any]]:
    """Return a server's allocations without the slots of other hosts.

    During an evacuation, it still holds the slot on the host that has failed.

    :param provider_name: returns a provider's name by its uuid.
    :param node: the name of this host's root provider.
    """
    names = providers.ProviderNames(node, on_root=True)
    models = (*MemoryEncryptionModel, *ForeignModel)
    here = {node, *(names.child(model) for model in models)}
    return {
        uuid: record
        for uuid, record in allocations.items()
        if SLOT not in record["resources"] or provider_name(uuid) in here
    }


def check_allocation(
    request: GuestRequest,
    allocations: Mapping[str, Mapping[str, Any]],
    provider_name: Callable[[str], str],
    remedy: str = SET_RESOURCES,
    *,
    none_free: bool = False,
) -> tuple[Violation, ...]:
    """Return a violation if a guest has no slot of its model.

    :param allocations: the guest's allocations, by the provider's uuid, as Nova passes
        them to ``spawn``.
    :param provider_name: returns a provider's name by its uuid.
    :param remedy: what to do about a missing slot, and about one of another model where
        no flavor can help.
    :param none_free: true if the host has no free slot of the guest's model.
    """
    names = [provider_name(uuid) for uuid in slot_providers(allocations)]
    found = _findings(request, names, remedy, none_free=none_free)
    return tuple(finding.attributed_to(request) for finding in found)


def check_foreign_allocation(
    request: ForeignRequest,
    allocations: Mapping[str, Mapping[str, Any]] | None,
    provider_name: Callable[[str], str],
) -> tuple[Violation, ...]:
    """Return a violation if a guest has no slot of another vendor's model.

    The name of Nova's provider ends with that of the model. The guest can be without an
    allocation: Nova requests no slot for a rebuild on the same host.

    :param allocations: as for :func:`check_allocation`.
    :param provider_name: as for :func:`check_allocation`.
    """
    if any(
        SLOT in allocation["resources"]
        and provider_name(uuid).endswith(f"_{request.model.symbol}")
        for uuid, allocation in (allocations or {}).items()
    ):
        return ()
    finding = UnmetRequirement(
        Requirement.SLOT,
        f"the server has no slot of {request.model.title} in Placement",
        "make a new server of this flavor and image",
    )
    return (finding.attributed_to(request),)


def _findings(
    request: GuestRequest, names: list[str], remedy: str, *, none_free: bool
) -> Iterator[UnmetRequirement]:
    if not names:
        yield UnmetRequirement(
            Requirement.SLOT, "the server has no slot in Placement", remedy
        )
    for name in names:
        model = providers.model_of_provider(name)
        if model is not request.model:
            none = f", and the host has none of {request.model.title} free"
            trait = f"require the trait of {request.model.title} in the flavor"
            yield UnmetRequirement(
                Requirement.POOL,
                f"the server's slot in Placement is one of {model.title}"
                f"{none if none_free else ''}",
                trait if remedy == SET_RESOURCES else remedy,
            )
