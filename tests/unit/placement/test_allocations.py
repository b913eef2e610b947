# SPDX-License-Identifier: Apache-2.0


import copy
from typing import Any

import pytest

from sev_driver.placement import allocations as reshape

ROOT, CHILD = "root", "child"
SLOT = "MEM_ENCRYPTION_CONTEXT"


def record(**providers: dict[str, int]) -> dict[str, Any]:
    return {
        "allocations": {
            provider: {"generation": 7, "resources": dict(resources)}
            for provider, resources in providers.items()
        },
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": 3,
    }


BEFORE = {
    "encrypted": record(root={"VCPU": 2, SLOT: 1}),
    "plain": record(root={"VCPU": 2}),
    "elsewhere": record(other={SLOT: 1}),
}


def test_a_move_takes_the_slot_and_nothing_else() -> None:
    allocations = copy.deepcopy(BEFORE)

    assert reshape.move(allocations, ROOT, CHILD) == 1

    moved = record(root={"VCPU": 2})
    moved["allocations"][CHILD] = {"resources": {SLOT: 1}}
    assert allocations == BEFORE | {"encrypted": moved}


def test_there_and_back_again() -> None:
    allocations = copy.deepcopy(BEFORE)
    reshape.move(allocations, ROOT, CHILD)
    assert reshape.move(allocations, CHILD, ROOT) == 1
    assert allocations == BEFORE


def test_a_second_move_finds_nothing() -> None:
    allocations = copy.deepcopy(BEFORE)
    reshape.move(allocations, ROOT, CHILD)
    once = copy.deepcopy(allocations)
    assert reshape.move(allocations, ROOT, CHILD) == 0
    assert allocations == once


def test_a_guest_that_holds_one_at_each_holds_two_then() -> None:
    allocations = {"both": record(root={"VCPU": 1, SLOT: 1}, child={SLOT: 1})}
    reshape.move(allocations, ROOT, CHILD)
    assert allocations["both"]["allocations"][CHILD]["resources"] == {SLOT: 2}


def test_holders() -> None:
    assert reshape.consumers_of(BEFORE, ROOT) == {"encrypted"}
    assert reshape.consumers_of(BEFORE, CHILD) == set()


@pytest.mark.parametrize(
    ("resources", "classes", "expected"),
    [
        ({"VCPU": 2, SLOT: 1}, {"VCPU", SLOT}, {"VCPU": 2}),
        # Of a server that boots from a volume.
        ({"VCPU": 2, "DISK_GB": 0}, {"VCPU", "DISK_GB"}, {"VCPU": 2}),
        # Disks on a shared provider.
        ({"VCPU": 2, "DISK_GB": 5}, {"VCPU"}, {"VCPU": 2}),
    ],
)
def test_on_root(
    resources: dict[str, int], classes: set[str], expected: dict[str, int]
) -> None:
    assert reshape.on_root(resources, classes) == expected


@pytest.mark.parametrize(
    ("own", "slots", "expected"),
    [
        (
            {"VCPU": 2},
            "child",
            {"root": {"resources": {"VCPU": 2}}, "child": {"resources": {SLOT: 1}}},
        ),
        ({"VCPU": 2}, "root", {"root": {"resources": {"VCPU": 2, SLOT: 1}}}),
        ({}, "child", {"child": {"resources": {SLOT: 1}}}),
    ],
)
def test_for_server(own: dict[str, int], slots: str, expected: dict[str, Any]) -> None:
    assert reshape.for_server(own, "root", slots) == expected
