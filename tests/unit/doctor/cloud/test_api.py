# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
from a_cloud import ES, NODE1, SEV

from sev_driver.doctor.cloud import allocation_candidates
from sev_driver.doctor.cloud import api as reader
from sev_driver.doctor.cloud.facts import CloudSlots, Server
from sev_driver.placement.allocations import SLOT

PROVIDERS = [
    {"uuid": "r", "name": "node1", "root_provider_uuid": "r"},
    {"uuid": "s", "name": "node1_amd_sev", "root_provider_uuid": "r"},
    {"uuid": "e", "name": "node1_amd_sev_es", "root_provider_uuid": "r"},
    {"uuid": "v", "name": "node1_vgpu", "root_provider_uuid": "r"},
    {"uuid": "x", "name": "a_neutron_agent", "root_provider_uuid": "x"},
]
WITH = {
    "COMPUTE_NODE": ["r"],
    "CUSTOM_AMD_SEV_HOST": ["r"],
    "HW_CPU_X86_AMD_SEV": ["s"],
    "HW_CPU_X86_AMD_SEV_ES": ["e"],
}
INVENTORIES = {"s": {"total": 15, "reserved": 1}, "e": {"total": 5, "reserved": 0}}


class Recorded:
    """Answers in the shape of the APIs', two items a page; the e2e asks real ones."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.processor: dict[str, Any] = {"cpu_info": ""}
        flavor = {"vcpus": 1, "ram": 64, "disk": 1, "swap": "", "extra_specs": {}}
        self.flavors = [flavor | {"id": str(n), "name": f"f{9 - n}"} for n in range(5)]
        self.images = [
            {"id": str(n), "name": f"i{n}", "tags": [], "hw_disk_bus": "sata"}
            for n in range(2)
        ]

    def get(
        self, service: str, path: str, version: str | None = None, **query: Any
    ) -> dict[str, Any] | None:
        self.asked.append(path)
        if path.count("/") == 3:
            return self._provider(path)
        name = path.strip("/").partition("/")[0].replace("-", "_")
        answer: dict[str, Any] = getattr(self, f"_{name}")(query)
        return answer

    def _flavors(self, query: dict[str, Any]) -> dict[str, Any]:
        assert query["is_public"] == "None"
        start = int(query.get("marker", -1)) + 1
        body: dict[str, Any] = {"flavors": self.flavors[start : start + 2]}
        return body | ({"flavors_links": [{}]} if start + 2 < len(self.flavors) else {})

    def _servers(self, query: dict[str, Any]) -> dict[str, Any]:
        assert query["all_tenants"] == "1"
        model = {"hw_mem_encryption_model": "amd-sev-snp", "hw_disk_bus": "sata"}
        return {
            "servers": []
            if "marker" in query
            else [
                {"id": "1", "name": "old", "image": {"id": "i"}},
                {"id": "2", "name": "new", "image": {"id": "i", "properties": model}},
                {"id": "3", "name": "", "image": ""},
            ]
        }

    def _images(self, query: dict[str, Any]) -> dict[str, Any]:
        start = int(query.get("marker", -1)) + 1
        body: dict[str, Any] = {"images": self.images[start : start + 1]}
        return body | ({"next": "/v2/..."} if start < 1 else {})

    def _os_hypervisors(self, query: dict[str, Any]) -> dict[str, Any]:
        node = {"hypervisor_hostname": "node1", "service": {"host": "node1"}}
        return {"hypervisors": [node | self.processor]}

    def _os_services(self, query: dict[str, Any]) -> dict[str, Any]:
        service = {"host": "node1", "state": "up", "status": "enabled"}
        return {"services": [service | {"disabled_reason": None}]}

    def _traits(self, query: dict[str, Any]) -> dict[str, Any]:
        how, _, text = query["name"].partition(":")
        if how == "startswith":
            assert query["associated"] == "true"
            return {"traits": [name for name in WITH if name.startswith(text)]}
        return {"traits": [name for name in text.split(",") if name in WITH]}

    def _resource_providers(self, query: dict[str, Any]) -> dict[str, Any]:
        of = WITH[query["required"]] if "required" in query else None
        found = [p for p in PROVIDERS if of is None or p["uuid"] in of]
        return {"resource_providers": found}

    def _allocation_candidates(self, query: dict[str, Any]) -> dict[str, Any]:
        """SEV-ES has no free slot, so that nothing is told of it here."""
        return {
            "provider_summaries": {
                "r": {"resources": {"VCPU": {"capacity": 8, "used": 0}}},
                "s": {"resources": {SLOT: {"capacity": 14, "used": 2}}},
            }
        }

    def _provider(self, path: str) -> dict[str, Any] | None:
        _, _, uuid, what = path.split("/")
        if what == "usages":
            return {"usages": {SLOT: 5}}
        return {"inventories": {SLOT: INVENTORIES[uuid]}}


def test_lists_are_paged_through_and_sorted() -> None:
    api = Recorded()
    found = reader.flavors(api)
    assert [flavor.name for flavor in found] == ["f5", "f6", "f7", "f8", "f9"]
    assert len(api.asked) == 3 and found[0].swap == 0
    assert [image.name for image in reader.images(api)] == ["i0", "i1"]


def test_an_image_has_its_properties_and_no_lists() -> None:
    first, _ = reader.images(Recorded())
    assert first.properties["hw_disk_bus"] == "sata" and "tags" not in first.properties


def test_computes() -> None:
    assert reader.computes(Recorded()) == (NODE1,)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"cpu_info": {"model": "EPYC-Milan"}}, {"node1": "EPYC-Milan"}),
        ({"cpu_info": {"model": None}}, {}),
        ({"cpu_info": {}}, {}),
        ({}, {}),
    ],
)
def test_processors(processor: dict[str, Any], expected: dict[str, str]) -> None:
    api = Recorded()
    api.processor = processor
    (found,) = reader.computes(api)
    assert found.cpu_models == expected


def test_slots() -> None:
    api = Recorded()
    found = reader.slots(api)
    assert found == CloudSlots(
        (SEV, ES),
        frozenset({"node1"}),
        marked=frozenset({"node1"}),
        names={str(p["uuid"]): str(p["name"]) for p in PROVIDERS},
    )
    # All providers, the traits, four of them, those of guest firmwares, the free slots;
    # then the inventories, and the use of the one that is full.
    assert len(api.asked) == 1 + 1 + 4 + 1 + 1 + 2 + 1


def test_guest_firmware_of_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    trait = "CUSTOM_SEV_FIRMWARE_0123456789AB"
    monkeypatch.setitem(WITH, trait, ["e"])
    sev, es = reader.slots(Recorded()).pools
    assert (sev.firmware, es.firmware) == ("", trait)


@pytest.mark.parametrize("reserved", [0, 15])
def test_slots_on_the_root(monkeypatch: pytest.MonkeyPatch, reserved: int) -> None:
    """As of Nova 31 and older: no child, the trait on the root."""
    monkeypatch.setitem(WITH, "HW_CPU_X86_AMD_SEV", ["r"])
    monkeypatch.setitem(INVENTORIES, "r", {"total": 15, "reserved": reserved})
    monkeypatch.setattr(
        f"{__name__}.PROVIDERS", [p for p in PROVIDERS if "_amd" not in str(p["name"])]
    )
    (pool,) = reader.slots(Recorded()).pools
    assert pool.on_root and pool.reserved == reserved and pool.used == 5


def test_the_scheduler_s_question_has_a_limit() -> None:
    api = Recorded()
    query = allocation_candidates.Query({"": allocation_candidates.Group({"VCPU": 1})})
    assert "provider_summaries" in reader.candidates_for(api, query)


def test_servers_with_the_model_that_nova_keeps() -> None:
    assert reader.servers(Recorded(), with_properties=True) == (
        Server("3", "3"),
        Server("2", "new", "i", "amd-sev-snp"),
        Server("1", "old", "i"),
    )


@pytest.mark.parametrize("candidates", [[], [{"allocations": {}}]])
def test_room_is_a_candidate_of_placement(candidates: list[dict[str, Any]]) -> None:
    class Placement:
        def get(
            self, service: str, path: str, version: str | None = None, **query: Any
        ) -> dict[str, Any] | None:
            assert (service, path) == ("placement", "/allocation_candidates")
            assert query["limit"] == "1" and query["resources"] == f"{SLOT}:1"
            return {"allocation_requests": candidates}

    group = allocation_candidates.Group({SLOT: 1})
    query = allocation_candidates.Query({"": group})
    assert reader.has_room(Placement(), query) is bool(candidates)


POOL = "HTTPConnectionPool(host='h', port=1): Max retries exceeded with url: /v3"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("No such trait(s): X.\nmore", "No such trait(s): X"),
        (
            f'No connection to http://h:1: {POOL} (Caused by NewConnectionError("x: '
            'Failed to establish a new connection: [Errno 111] Connection refused"))',
            "No connection to http://h:1: Connection refused",
        ),
        (
            f"No trust: {POOL} (Caused by SSLError(1, 'certificate verify failed'))",
            "No trust: SSLError(1, 'certificate verify failed')",
        ),
        (f"Odd: {POOL}", f"Odd: {POOL}"),
    ],
)
def test_words_of_an_error_leave_out_urllib3s_pool(said: str, expected: str) -> None:
    assert reader._words(Exception(said)) == expected
