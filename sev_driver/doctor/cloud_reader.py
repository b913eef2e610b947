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

"""From the answers of a cloud's APIs to what the doctor judges.

As few requests as the APIs allow: one for each list and page, and one or two for
each provider of slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from sev_driver import pools, traits
from sev_driver.doctor import candidates
from sev_driver.doctor.cloud_facts import Compute, Flavor, Image, Pool, Slots
from sev_driver.model import MemoryEncryptionModel
from sev_driver.reshape import SLOT

#: The microversion by which extra specs come with the flavors (Nova 18, Rocky).
_FLAVORS = "2.61"
#: That by which hypervisors tell their service (2.53) and nothing of no use here.
_HYPERVISORS = "2.88"

#: What every node of Nova's has, and what one has whose service is disabled.
_NODE, _DISABLED = "COMPUTE_NODE", "COMPUTE_STATUS_DISABLED"
_GENERATIONS = tuple(
    name
    for model in MemoryEncryptionModel
    for name in (model.trait, f"CUSTOM_{model.trait}")
)

#: Of a list, the most that is asked for at once; a service may give less.
PAGE = 1000

CANDIDATES = "/allocation_candidates"
Answer = dict[str, Any]


class Api(Protocol):
    """Where to ask: :class:`~sev_driver.doctor.cloud_session.CloudSession`."""

    def get(
        self, service: str, path: str, version: str | None = None, **query: Any
    ) -> dict[str, Any] | None:
        """Return an answer; None where there is no such thing."""


def flavors(api: Api) -> tuple[Flavor, ...]:
    """Return all flavors that these credentials may see."""
    listed = _pages(
        api, "compute", "/flavors/detail", "flavors", _FLAVORS, is_public="None"
    )
    found = (
        Flavor(
            flavor["id"],
            flavor["name"],
            flavor["vcpus"],
            flavor["ram"],
            flavor["disk"],
            flavor.get("extra_specs", {}),
            flavor.get("OS-FLV-EXT-DATA:ephemeral", 0),
            flavor.get("swap") or 0,
        )
        for flavor in listed
    )
    return tuple(sorted(found, key=lambda flavor: flavor.name))


def images(api: Api) -> tuple[Image, ...]:
    """Return all images that these credentials may see, other than hidden ones."""
    found = (
        Image(
            image["id"],
            image.get("name") or "",
            {key: value for key, value in image.items() if isinstance(value, str)},
        )
        for image in _pages(api, "image", "/images", "images")
    )
    return tuple(sorted(found, key=lambda image: image.name))


def computes(api: Api) -> tuple[Compute, ...]:
    """Return every nova-compute, with its nodes."""
    nodes: dict[str, list[str]] = {}
    path = "/os-hypervisors/detail"
    for node in _pages(api, "compute", path, "hypervisors", _HYPERVISORS):
        service = node["service"]["host"]
        nodes.setdefault(service, []).append(node["hypervisor_hostname"])
    answer = api.get("compute", "/os-services", _HYPERVISORS, binary="nova-compute")
    return tuple(
        Compute(
            service["host"],
            service["state"] == "up",
            service["status"] == "enabled",
            service["disabled_reason"] or "",
            tuple(nodes.get(service["host"], ())),
        )
        for service in (answer or {}).get("services", ())
    )


def slots(api: Api) -> Slots:
    """Return what Placement knows of encryption slots."""
    everyone = {provider["uuid"]: provider for provider in _providers(api)}
    with_trait = {
        name: {provider["uuid"] for provider in _providers(api, required=name)}
        for name in _known_traits(api)
    }
    found: set[str] = set()
    for name in _GENERATIONS:
        found |= with_trait.get(name, set())
    answer = with_free_slot(api)
    used = {
        uuid: summary["resources"][SLOT]["used"]
        for uuid, summary in answer.get("provider_summaries", {}).items()
        if SLOT in summary["resources"]
    }
    pools_ = []
    for uuid, provider in everyone.items():
        root = everyone.get(provider["root_provider_uuid"], provider)
        if not (pools.is_pool(provider["name"]) or uuid in found | set(used)):
            continue
        pool = _pool(api, provider, root["name"], used.get(uuid), uuid in found)
        if pool.total or provider is not root:
            pools_.append(pool)

    def nodes(name: str) -> frozenset[str]:
        uuids = with_trait.get(name, set()) & set(everyone)
        return frozenset(everyone[uuid]["name"] for uuid in uuids)

    return Slots(
        tuple(pools_),
        nodes(_NODE),
        nodes(traits.HOST),
        nodes(_DISABLED),
        {uuid: provider["name"] for uuid, provider in everyone.items()},
    )


def with_free_slot(api: Api) -> Answer:
    """Return Placement's candidates for a slot of whatever generation."""
    return _placement(api, CANDIDATES, resources=f"{SLOT}:1") or {}


def candidates_for(api: Api, query: candidates.Query) -> Answer:
    """Return Placement's candidates for a guest, as Nova's scheduler gets them."""
    return _placement(api, CANDIDATES, limit=str(PAGE), **query.parameters()) or {}


def _pool(
    api: Api, provider: dict[str, Any], root: str, used: int | None, found: bool
) -> Pool:
    path = f"/resource_providers/{provider['uuid']}"
    answer = _placement(api, f"{path}/inventories") or {}
    entry = answer.get("inventories", {}).get(SLOT, {"total": 0, "reserved": 0})
    if used is None and entry["total"]:
        # Placement tells of the use of those with a free slot all at once.
        usages = _placement(api, f"{path}/usages") or {}
        used = usages.get("usages", {}).get(SLOT, 0)
    return Pool(
        provider["name"], root, entry["total"], entry["reserved"], used or 0, found
    )


def _known_traits(api: Api) -> list[str]:
    """Return those of ours that this Placement has: it refuses to look for others."""
    names = (_NODE, _DISABLED, traits.HOST, *_GENERATIONS)
    answer = _placement(api, "/traits", name=f"in:{','.join(names)}") or {}
    return list(answer.get("traits", ()))


def _providers(api: Api, **query: str) -> list[dict[str, Any]]:
    """Placement knows no pages."""
    answer = _placement(api, "/resource_providers", **query) or {}
    return list(answer.get("resource_providers", ()))


def _placement(api: Api, path: str, **query: str) -> dict[str, Any] | None:
    return api.get("placement", path, candidates.MICROVERSION, **query)


def _pages(
    api: Api,
    service: str,
    path: str,
    name: str,
    version: str | None = None,
    **query: Any,
) -> Iterator[dict[str, Any]]:
    query["limit"] = PAGE
    while True:
        body = api.get(service, path, version, **query) or {}
        items = body.get(name, [])
        yield from items
        if not items or not (body.get("next") or body.get(f"{name}_links")):
            return
        query["marker"] = items[-1]["id"]
