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


import copy
from typing import Any

from sev_driver import reshape

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
    assert reshape.holders(BEFORE, ROOT) == {"encrypted"}
    assert reshape.holders(BEFORE, CHILD) == set()
