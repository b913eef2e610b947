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


"""Slots in use by guests of which Placement does not know."""

from typing import Any

import pytest
from lab import PROVIDER, Lab, eventually


@pytest.fixture
def all_offered(lab: Lab) -> Lab:
    """The lab, with all 15 slots of its host offered to Nova."""
    lab.configure({"libvirt": {"num_memory_encrypted_guests": 15}})
    return lab


def offered(lab: Lab, *wanted: Any) -> None:
    eventually(f"{wanted}", lambda: lab.inventory() == {PROVIDER: wanted})


def test_a_guest_started_by_virsh_reserves_its_slot_while_it_runs(
    all_offered: Lab,
) -> None:
    lab = all_offered
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    offered(lab, 15, 0)

    lab.start_stranger("stranger")
    offered(lab, 15, 1)
    lab.start_stranger("another")
    offered(lab, 15, 2)
    assert lab.usage() == {PROVIDER: 1}

    lab.virsh("destroy", "stranger")
    offered(lab, 15, 1)
    lab.virsh("destroy", "another")
    offered(lab, 15, 0)


def test_it_takes_first_what_nova_is_not_offered(lab: Lab) -> None:
    # 15 slots, of which Nova is offered 4.
    lab.start_stranger("beside")
    try:
        eventually(
            "it is seen", lambda: "runs encrypted and is not Nova's" in lab.log()
        )
        offered(lab, 4, 0)
    finally:
        lab.virsh("destroy", "beside")


def test_a_server_without_its_allocation_reserves_its_slot(all_offered: Lab) -> None:
    lab = all_offered
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    lab.connection.placement.delete(f"/allocations/{server.id}")

    offered(lab, 15, 1)

    assert f"Server {server.id} runs encrypted and holds a slot" in lab.log()
