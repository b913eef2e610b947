# SPDX-License-Identifier: Apache-2.0

"""A slot of another model is exchanged for one of the guest's own, or nothing is."""

import copy
import types
from typing import Any

import nova_instances
import pytest
from nova import exception as nova_exception

from sev_driver.compute.slot_exchange import exchange_slot, has_free_slot
from sev_driver.model import SEV, SEV_ES, MemoryEncryptionModel

SLOT = "MEM_ENCRYPTION_CONTEXT"
CPU = {"VCPU": 2, "MEMORY_MB": 512}
CHILDREN = {"sev": "node1_amd_sev", "es": "node1_amd_sev_es"}


class Placement:
    """Stands in for Nova's client: one host, one guest."""

    def __init__(self, children: dict[str, str], held: dict[str, int]) -> None:
        self.names = {"root": "node1", "gpu": "node1_gpu"} | children
        self.allocations = {"root": {"resources": dict(CPU)}}
        for provider, slots in held.items():
            slot = self.allocations.setdefault(provider, {"resources": {}})
            slot["resources"][SLOT] = slots
        self.written: list[dict[str, Any]] = []
        self.conflicts = 0
        self.full = False

    def get_providers_in_tree(self, context: Any, uuid: str) -> list[dict[str, str]]:
        return [
            {"uuid": each, "name": name, "root_provider_uuid": "root"}
            for each, name in self.names.items()
        ]

    def get_allocs_for_consumer(self, context: Any, uuid: str) -> dict[str, Any]:
        return {
            "allocations": copy.deepcopy(self.allocations),
            "consumer_generation": 7,
            "project_id": "p",
            "user_id": "u",
        }

    def put_allocations(self, context: Any, uuid: str, record: dict[str, Any]) -> bool:
        if self.conflicts:
            self.conflicts -= 1
            raise nova_exception.AllocationUpdateFailed(consumer_uuid=uuid, error="")
        if self.full:
            return False
        assert record["consumer_generation"] == 7
        self.written.append(record)
        self.allocations = record["allocations"]
        return True


def exchange(placement: Placement, model: MemoryEncryptionModel = SEV) -> Any:
    return exchange_slot(placement, None, nova_instances.instance(), model)


@pytest.mark.parametrize(
    ("model", "given", "wanted"), [(SEV, "es", "sev"), (SEV_ES, "sev", "es")]
)
def test_slot_of_another_model_is_exchanged(
    model: MemoryEncryptionModel, given: str, wanted: str
) -> None:
    placement = Placement(CHILDREN, {given: 1})
    expected = {"root": {"resources": CPU}, wanted: {"resources": {SLOT: 1}}}

    assert exchange(placement, model) == expected

    (record,) = placement.written
    assert record["allocations"] == expected


def test_slot_of_the_own_model_is_left_alone() -> None:
    placement = Placement(CHILDREN, {"sev": 1})
    assert exchange(placement) == placement.allocations
    assert not placement.written


def test_slot_is_exchanged_for_one_on_the_root_of_stock_nova_31() -> None:
    placement = Placement({"es": CHILDREN["es"]}, {"es": 1})
    assert exchange(placement) == {"root": {"resources": CPU | {SLOT: 1}}}


def test_allocations_that_change_meanwhile_are_read_again() -> None:
    placement = Placement(CHILDREN, {"es": 1})
    placement.conflicts = 2
    assert "sev" in exchange(placement)


def test_allocations_that_change_again_and_again_are_left_alone() -> None:
    placement = Placement(CHILDREN, {"es": 1})
    placement.conflicts = 100
    assert exchange(placement) is None
    assert not placement.written


def test_full_pool_leaves_the_slot_where_it_is() -> None:
    placement = Placement(CHILDREN, {"es": 1})
    placement.full = True
    assert exchange(placement) is None
    assert placement.allocations["es"] == {"resources": {SLOT: 1}}


def test_host_without_slots_of_the_model_leaves_the_slot_where_it_is() -> None:
    placement = Placement({"sev": CHILDREN["sev"]}, {"sev": 1})
    assert exchange(placement, SEV_ES) == placement.allocations
    assert not placement.written


class Stock(Placement):
    """As many slots of each model as ``total``, of which ``used`` are in use."""

    def __init__(self, held: dict[str, int], total: int, used: int) -> None:
        super().__init__(CHILDREN, held)
        self.inventory = {"total": total, "reserved": 1}
        self.usages = {SLOT: used} if used else {}

    def get(self, url: str) -> Any:
        _, _, provider, what, *_ = url.split("/")
        assert provider in CHILDREN
        found = {"usages": self.usages} if what == "usages" else self.inventory
        return types.SimpleNamespace(json=lambda: found)


@pytest.mark.parametrize(
    ("held", "total", "used", "free"),
    [
        ({"es": 1}, 3, 1, True),
        ({"es": 1}, 3, 2, False),
        ({"es": 1}, 2, 0, True),
        ({"es": 1}, 1, 0, False),
        ({}, 3, 0, False),
        ({"sev": 1}, 3, 0, False),  # There is nothing to exchange.
    ],
)
def test_free_slot_is_found_and_not_taken(
    held: dict[str, int], total: int, used: int, free: bool
) -> None:
    placement = Stock(held, total, used)
    found = has_free_slot(placement, None, nova_instances.instance(), SEV)
    assert found is free
    assert placement.written == []
