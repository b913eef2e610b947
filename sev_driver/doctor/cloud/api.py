# SPDX-License-Identifier: Apache-2.0

"""The APIs of a cloud, called by openstacksdk, and their answers as values."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from sev_driver.doctor.cloud import allocation_candidates
from sev_driver.doctor.cloud.facts import (
    CloudSlots,
    Compute,
    Flavor,
    Image,
    Pool,
    Server,
    Unavailable,
)
from sev_driver.guest.model_selection import IMAGE_MODEL_KEY
from sev_driver.model import HOST_TRAIT, MemoryEncryptionModel
from sev_driver.nova_release import releases_with_compute_api
from sev_driver.placement import providers
from sev_driver.placement.allocations import SLOT

#: The microversion by which extra specs come with the flavors (Nova 18, Rocky).
_FLAVORS = "2.61"
#: That by which the properties of servers' images come with the servers (31).
_IMAGE_PROPERTIES = "2.98"
#: Hypervisors name their service (from 2.53) and their processor (up to this one).
_HYPERVISORS = "2.87"

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


def servers(api: Api, *, with_properties: bool) -> tuple[Server, ...]:
    """Return the servers of all projects, which takes an administrator.

    :param with_properties: whether the API shows their images' properties, as those of
        Nova 31 and later do, with the properties that the release knows.
    """
    version = _IMAGE_PROPERTIES if with_properties else _FLAVORS
    path = "/servers/detail"
    found = []
    for server in _pages(api, "compute", path, "servers", version, all_tenants="1"):
        image = server.get("image") or {}
        model = image.get("properties", {}).get(IMAGE_MODEL_KEY)
        name = server.get("name") or server["id"]
        found.append(Server(server["id"], name, image.get("id", ""), model))
    return tuple(sorted(found, key=lambda server: server.name))


def computes(api: Api) -> tuple[Compute, ...]:
    """Return every nova-compute, with its nodes."""
    nodes: dict[str, dict[str, str]] = {}
    path = "/os-hypervisors/detail"
    for node in _pages(api, "compute", path, "hypervisors", _HYPERVISORS):
        found = nodes.setdefault(node["service"]["host"], {})
        found[node["hypervisor_hostname"]] = _cpu_model(node)
    answer = api.get("compute", "/os-services", _HYPERVISORS, binary="nova-compute")
    return tuple(
        Compute(
            service["host"],
            service["state"] == "up",
            service["status"] == "enabled",
            service["disabled_reason"] or "",
            tuple(nodes.get(service["host"], ())),
            {n: cpu for n, cpu in nodes.get(service["host"], {}).items() if cpu},
        )
        for service in (answer or {}).get("services", ())
    )


def _cpu_model(node: Mapping[str, Any]) -> str:
    """Return the model of a node's processor, empty if the node does not name it."""
    info = node.get("cpu_info")
    model = info.get("model") if isinstance(info, dict) else None
    return model if isinstance(model, str) else ""


def slots(api: Api) -> CloudSlots:
    """Return what Placement knows of encryption slots."""
    everyone = {provider["uuid"]: provider for provider in _providers(api)}
    with_trait = {
        name: {provider["uuid"] for provider in _providers(api, required=name)}
        for name in (*_known_traits(api), *_firmware_traits(api))
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
        if not (providers.is_pool(provider["name"]) or uuid in found | set(used)):
            continue
        pool = _pool(api, provider, root["name"], used.get(uuid), uuid in found)
        firmware = (
            name
            for name, uuids in with_trait.items()
            if name.startswith(providers.FIRMWARE_TRAIT) and uuid in uuids
        )
        pool = dataclasses.replace(pool, firmware=next(firmware, ""))
        if pool.total or provider is not root:
            pools_.append(pool)

    def nodes(name: str) -> frozenset[str]:
        uuids = with_trait.get(name, set()) & set(everyone)
        return frozenset(everyone[uuid]["name"] for uuid in uuids)

    return CloudSlots(
        tuple(pools_),
        nodes(_NODE),
        nodes(HOST_TRAIT),
        nodes(_DISABLED),
        {uuid: provider["name"] for uuid, provider in everyone.items()},
    )


def with_free_slot(api: Api) -> Answer:
    """Return Placement's candidates for a slot of any model."""
    return _placement(api, CANDIDATES, resources=f"{SLOT}:1") or {}


def candidates_for(api: Api, query: allocation_candidates.Query) -> Answer:
    """Return Placement's candidates for a guest, as Nova's scheduler gets them."""
    return _placement(api, CANDIDATES, limit=str(PAGE), **query.parameters()) or {}


def has_room(api: Api, query: allocation_candidates.Query) -> bool:
    """Return whether Placement has a candidate for a guest."""
    answer = _placement(api, CANDIDATES, limit="1", **query.parameters()) or {}
    return bool(answer.get("allocation_requests"))


def _pool(
    api: Api, provider: dict[str, Any], root: str, used: int | None, found: bool
) -> Pool:
    path = f"/resource_providers/{provider['uuid']}"
    answer = _placement(api, f"{path}/inventories") or {}
    entry = answer.get("inventories", {}).get(SLOT, {"total": 0, "reserved": 0})
    if used is None and entry["total"]:
        # Of providers with a free slot, Placement has already returned the usage.
        usages = _placement(api, f"{path}/usages") or {}
        used = usages.get("usages", {}).get(SLOT, 0)
    return Pool(
        provider["name"], root, entry["total"], entry["reserved"], used or 0, found
    )


def _known_traits(api: Api) -> list[str]:
    """Return the traits that this Placement knows: it refuses a query for others."""
    names = (_NODE, _DISABLED, HOST_TRAIT, *_GENERATIONS)
    answer = _placement(api, "/traits", name=f"in:{','.join(names)}") or {}
    return list(answer.get("traits", ()))


def _firmware_traits(api: Api) -> list[str]:
    """Return the traits that name the guest firmwares of the cloud's hosts."""
    prefix = f"startswith:{providers.FIRMWARE_TRAIT}"
    answer = _placement(api, "/traits", name=prefix, associated="true") or {}
    return list(answer.get("traits", ()))


def _providers(api: Api, **query: str) -> list[dict[str, Any]]:
    """Placement knows no pages."""
    answer = _placement(api, "/resource_providers", **query) or {}
    return list(answer.get("resource_providers", ()))


def _placement(api: Api, path: str, **query: str) -> dict[str, Any] | None:
    return api.get("placement", path, allocation_candidates.MICROVERSION, **query)


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


#: Seconds for one answer.
TIMEOUT = 60

Part = TypeVar("Part")

#: How urllib3 names where it was not answered, and how it gives the reason.
_POOL = re.compile(r": HTTPS?ConnectionPool\(")
_ERRNO = re.compile(r"\[Errno -?\d+\] ([\w ,]+)")

#: What Placement begins each refusal with.
_PREAMBLE = (
    "The server could not comply with the request since it is either malformed or "
    "otherwise incorrect."
)


class Unreachable(Exception):
    """There is no cloud to ask: no library, no credentials, or nobody answers."""


class CloudSession:
    """The APIs of one cloud.

    :param cloud: a name in clouds.yaml; None: OS_CLOUD's, or that of OS_* variables.
    :param program: the name of the program, for the services' logs.
    :raises Unreachable: it cannot be asked at all.
    """

    def __init__(self, cloud: str | None, program: str = "sev-doctor") -> None:
        try:
            import openstack
            from keystoneauth1.exceptions import ClientException
            from openstack.exceptions import SDKException
        except ImportError:
            raise Unreachable(
                "the cloud is asked by openstacksdk, and that is not installed here: "
                "pip install openstacksdk"
            ) from None
        self._errors = (ClientException, SDKException)
        # It warns of its own use of itself, and says twice that nobody answers.
        warnings.filterwarnings("ignore", module="openstack")
        logging.getLogger("keystoneauth").addHandler(logging.NullHandler())
        try:
            self._connection = openstack.connect(
                cloud=cloud, app_name=program, api_timeout=TIMEOUT
            )
            self._connection.authorize()
        except self._errors as error:
            raise Unreachable(
                f"the cloud cannot be asked: {_words(error)}: name one of clouds.yaml "
                f"by --os-cloud, or set the OS_* variables"
            ) from error

    def server_metadata(self, server: str) -> dict[str, str]:
        """Return the metadata of one of the project's servers.

        :param server: its name or id.
        :raises Unreachable: there is no such server, or the API does not answer.
        """
        try:
            found = self._connection.compute.find_server(server, ignore_missing=False)
            full = self._connection.compute.get_server(found.id)
        except self._errors as error:
            raise Unreachable(
                f"server {server} cannot be read: {_words(error)}"
            ) from error
        return dict(full.metadata or {})

    def releases(self) -> tuple[int, ...]:
        """Return the Nova releases that the compute API may be of.

        :raises Unreachable: there is no compute API that answers.
        """
        try:
            data = self._connection.compute.get_endpoint_data()
        except self._errors as error:
            message = f"the compute API cannot be asked: {_words(error)}"
            raise Unreachable(message) from error
        if data is None or not data.max_microversion:
            raise Unreachable("the compute API does not report its version")
        return releases_with_compute_api(int(data.max_microversion[1]))

    def get(
        self, service: str, path: str, version: str | None = None, **query: Any
    ) -> dict[str, Any] | None:
        """Return an answer; None where there is no such thing.

        :param version: the microversion to ask with.
        """
        from openstack.exceptions import raise_from_response

        adapter = getattr(self._connection, service)
        answer = adapter.get(path, params=query, microversion=version)
        if answer.status_code == 404:
            return None
        raise_from_response(answer)
        body: dict[str, Any] = answer.json()
        return body

    def part(self, title: str, read: Callable[[], Part]) -> Part | Unavailable:
        """Return what ``read`` does, or why it cannot."""
        try:
            return read()
        except self._errors as error:
            status = getattr(error, "status_code", getattr(error, "http_status", None))
            if status in (401, 403):
                return Unavailable(
                    f"{title} cannot be read with these credentials (HTTP {status}): "
                    f"that takes an administrator's",
                    refused=True,
                )
            if status == 400:
                return Unavailable(
                    f"{title} refuses what it is asked: {_words(error)}",
                    remedy="Nova asks the same: correct the trait and resources keys",
                )
            return Unavailable(f"{title} cannot be read: {_words(error)}")


def _words(error: Exception) -> str:
    """Return what an error says, without the stop; of a service's, its own words."""
    response: Any = getattr(error, "response", None)
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
        # As the API working group has it, and Placement does.
        detail = str(response.json()["errors"][0]["detail"])
        return " ".join(detail.split()).removeprefix(_PREAMBLE).strip(". ")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _without_pool(lines[0]).rstrip(". ")


def _without_pool(line: str) -> str:
    """Return what an error says, without the pool of connections that urllib3 names."""
    place = _POOL.search(line)
    number = _ERRNO.search(line)
    _, _, cause = line.partition("(Caused by ")
    if place is None or not (number or cause):
        return line
    why = number[1] if number else cause.removesuffix(")")
    return f"{line[: place.start()]}: {why.strip()}"
