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

"""Which hosts would take a guest, and why the others would not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sev_driver import pools
from sev_driver.doctor.candidates import Query
from sev_driver.doctor.cloud_facts import Compute, Slots, Unread
from sev_driver.requirements import GuestRequest
from sev_driver.reshape import SLOT

_UNITS = {"MEMORY_MB": "MB of memory", "DISK_GB": "GB of disk", "VCPU": "processors"}


@dataclasses.dataclass(frozen=True)
class Place:
    """A host, whether it would take the guest, and in words why."""

    host: str
    takes: bool
    why: str


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of the hosts: a guest, as Nova's scheduler asks for it.

    ``answer`` and ``free`` are Placement's: its candidates for the guest, and those
    for a slot of whatever generation, which tell what else is free there.
    """

    request: GuestRequest
    query: Query
    answer: Mapping[str, Any]
    free: Mapping[str, Any]


def judge(
    question: Question, slots: Slots, computes: tuple[Compute, ...] | Unread
) -> list[Place]:
    """Return a place for each host, those that take the guest first."""
    services: dict[str, Compute] = {}
    if not isinstance(computes, Unread):
        services = {node: compute for compute in computes for node in compute.nodes}
    offers = _offers(question.answer, slots)
    hosts = sorted(slots.nodes | {pool.root for pool in slots.pools} | set(offers))
    places = [
        _place(host, question, slots, services.get(host), offers.get(host, []))
        for host in hosts
    ]
    return sorted(places, key=lambda place: not place.takes)


def _offers(answer: Mapping[str, Any], slots: Slots) -> dict[str, list[dict[str, Any]]]:
    """Return by host the allocations that Placement would make."""
    found: dict[str, list[dict[str, Any]]] = {}
    summaries = answer.get("provider_summaries", {})
    for candidate in answer.get("allocation_requests", ()):
        allocations = candidate["allocations"]
        # A pool of disks that hosts share is a tree of its own.
        own = next((u for u, a in allocations.items() if SLOT in a["resources"]), None)
        if own is None:
            continue  # no candidate for an encrypted guest
        root = summaries[own]["root_provider_uuid"]
        found.setdefault(slots.names.get(root, root), []).append(allocations)
    return found


def _place(
    host: str,
    question: Question,
    slots: Slots,
    service: Compute | None,
    offers: list[dict[str, Any]],
) -> Place:
    if service is not None and not service.up:
        return Place(host, False, "its nova-compute is down")
    if host in slots.disabled or (service is not None and not service.enabled):
        return Place(host, False, "its nova-compute is disabled")
    request = question.request
    judged = [
        pools.check(request, offer, lambda u: slots.names.get(u, u)) for offer in offers
    ]
    if not judged:
        return Place(host, False, _why_not(host, question, slots))
    if all(judged):
        return Place(host, False, judged[0][0].found)
    found = (p for p in slots.pools if p.root == host and p.model is request.model)
    pool = next(found, None)
    why = f"a slot of {request.model.title} is free"
    if pool is not None:
        why = f"{pool.free} of {pool.total} slots of {request.model.title} free"
    if any(judged):
        why += ", but Placement may give it one of another generation"
    return Place(host, True, why)


def _why_not(host: str, question: Question, slots: Slots) -> str:
    model = question.request.model
    own = [pool for pool in slots.pools if pool.root == host and pool.total]
    pool = next((pool for pool in own if pool.model is model), None)
    if pool is None:
        others = " and ".join(p.model.title for p in own)
        other = f", only of {others}" if others else ""
        return f"it offers no slot of {model.title}{other}"
    if not pool.free:
        taken = f"all {pool.total} slots of {model.title} are taken"
        return f"{taken} ({pool.used} by guests, {pool.reserved} reserved)"
    return _short_of(host, question, slots) or (
        "Placement does not take it for a reason that it does not tell (see aggregates "
        "and allocation ratios)"
    )


def _short_of(host: str, question: Question, slots: Slots) -> str:
    """Return which resources or traits a host with a free slot lacks."""
    tree = [
        summary
        for summary in question.free.get("provider_summaries", {}).values()
        if slots.names.get(summary["root_provider_uuid"]) == host
    ]
    if not tree:
        return ""
    found = []
    for name, wanted in question.query.resources().items():
        has = [s["resources"][name] for s in tree if name in s["resources"]]
        left = sum(max(0, entry["capacity"] - entry["used"]) for entry in has)
        if name != SLOT and left < wanted:
            found.append(f"{left} of {wanted} {_UNITS.get(name, name)} free")
    traits = {trait for summary in tree for trait in summary["traits"]}
    found += [f"no trait {t}" for t in sorted(question.query.required() - traits)]
    return "it has " + " and ".join(found) if found else ""
