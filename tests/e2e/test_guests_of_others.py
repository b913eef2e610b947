# SPDX-License-Identifier: Apache-2.0


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
        eventually("it is seen", lambda: "is not managed by Nova" in lab.log())
        offered(lab, 4, 0)
    finally:
        lab.virsh("destroy", "beside")


def test_a_lost_allocation_is_created_again(all_offered: Lab) -> None:
    lab = all_offered
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    allocations = f"/allocations/{server.id}"
    before = lab.connection.placement.get(allocations).json()["allocations"]
    lab.connection.placement.delete(allocations)

    eventually(
        "the driver reports it",
        lambda: (
            f"Server {server.id} uses memory encryption, and its allocations in "
            f"Placement were lost. They were created again" in lab.log()
        ),
    )

    after = lab.connection.placement.get(allocations).json()["allocations"]
    held = [
        {uuid: entry["resources"] for uuid, entry in found.items()}
        for found in (before, after)
    ]
    assert held[0] == held[1]
    offered(lab, 15, 0)
