# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from a_cloud import ES, NODE1, ON, REFUSED, SEV, SLOTS, UEFI, cloud, flavor, image

from sev_driver.doctor.cloud import allocation_candidates, plan
from sev_driver.doctor.cloud.compatibility import violations
from sev_driver.doctor.cloud.facts import CloudSlots
from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement.allocations import SLOT

NAMES = {"root": "node1", "sev": "node1_amd_sev", "es": "node1_amd_sev_es"}
KNOWN = dataclasses.replace(SLOTS, names=NAMES)
FREE_ES = dataclasses.replace(ES, used=0)
NO_SEV = dataclasses.replace(SEV, total=0, used=0, reserved=0)
SEV_TRAIT = "HW_CPU_X86_AMD_SEV"


def summaries(memory: int = 4096, traits: tuple[str, ...] = ()) -> dict[str, Any]:
    """As in Placement's answers, of a tree that is otherwise empty."""
    room = {
        "VCPU": {"capacity": 64, "used": 0},
        "MEMORY_MB": {"capacity": memory, "used": 0},
        "DISK_GB": {"capacity": 100, "used": 0},
    }
    slot = {SLOT: {"capacity": 15, "used": 0}}
    return {
        uuid: {
            "root_provider_uuid": "root",
            "resources": room if uuid == "root" else slot,
            "traits": list(traits),
        }
        for uuid in NAMES
    }


def answer(*pools: str) -> dict[str, Any]:
    """Placement's, with a candidate for a slot of each of the pools."""
    return {
        "allocation_requests": [
            {
                "allocations": {
                    "root": {"resources": {"VCPU": 2}},
                    pool: {"resources": {SLOT: 1}},
                }
            }
            for pool in pools
        ],
        "provider_summaries": summaries(),
    }


def ask(
    given: dict[str, Any], free: dict[str, Any], **specs: str
) -> plan.PlacementQuestion:
    asking = flavor(ON | {key.replace("__", ":"): v for key, v in specs.items()})
    request, found = violations(asking, image(UEFI).asked, 34)
    assert request is not None and not found
    query = allocation_candidates.query(asking, image(UEFI).asked, 34)
    return plan.PlacementQuestion(request, query, given, free)


NOTHING: dict[str, Any] = {"allocation_requests": [], "provider_summaries": {}}
ROOMY = {"provider_summaries": summaries(traits=(SEV_TRAIT,))}
TIGHT = {"provider_summaries": summaries(100, traits=(SEV_TRAIT,))}
BARE = {"provider_summaries": summaries()}

CASES = [
    (answer("sev"), ROOMY, SEV, True, "12 of 15 slots of AMD SEV free"),
    (
        answer("es", "sev"),
        ROOMY,
        SEV,
        True,
        "12 of 15 slots of AMD SEV free",
    ),
    (answer("es"), ROOMY, SEV, True, "12 of 15 slots of AMD SEV free"),
    (
        answer("es"),
        ROOMY,
        dataclasses.replace(SEV, used=14),
        False,
        "the server's slot in Placement is one of AMD SEV-ES",
    ),
    (NOTHING, ROOMY, NO_SEV, False, "it offers no slot of AMD SEV, only of AMD SEV-ES"),
    (
        NOTHING,
        NOTHING,
        dataclasses.replace(SEV, used=14),
        False,
        "all 15 slots of AMD SEV are taken (14 by guests, 1 reserved)",
    ),
    (NOTHING, TIGHT, SEV, False, "it has 100 of 512 MB of memory free"),
    (NOTHING, BARE, SEV, False, f"it has no trait {SEV_TRAIT}"),
    (
        NOTHING,
        ROOMY,
        SEV,
        False,
        "Placement does not offer it and gives no reason (see aggregates "
        "and allocation ratios)",
    ),
]


@pytest.mark.parametrize(("given", "free", "pool", "takes", "why"), CASES)
def test_a_host(
    given: dict[str, Any], free: dict[str, Any], pool: Any, takes: bool, why: str
) -> None:
    slots = dataclasses.replace(KNOWN, pools=(pool, ES))
    (place,) = plan.host_verdicts(ask(given, free), slots, (NODE1,))
    assert place == plan.HostVerdict("node1", takes, why)


@pytest.mark.parametrize(
    ("service", "disabled", "why"),
    [
        ({"up": False}, frozenset(), "its nova-compute is down"),
        ({"enabled": False}, frozenset(), "its nova-compute is disabled"),
        ({}, SLOTS.nodes, "its nova-compute is disabled"),
    ],
)
def test_a_service_that_takes_no_guests(
    service: dict[str, bool], disabled: frozenset[str], why: str
) -> None:
    slots = dataclasses.replace(KNOWN, disabled=disabled)
    compute = dataclasses.replace(NODE1, **service)
    (place,) = plan.host_verdicts(ask(answer("sev"), ROOMY), slots, (compute,))
    assert place == plan.HostVerdict("node1", False, why)


def test_those_that_take_it_come_first() -> None:
    nodes = frozenset({"node1", "node0"})
    slots = dataclasses.replace(KNOWN, nodes=nodes)
    found = plan.host_verdicts(ask(answer("sev"), ROOMY), slots, REFUSED)
    assert [(p.host, p.takes) for p in found] == [("node1", True), ("node0", False)]
    assert found[1].why == "it offers no slot of AMD SEV"


def test_another_generation() -> None:
    question = ask(answer("es"), ROOMY, hw__mem_encryption_model="amd-sev-es")
    assert question.request.model is MemoryEncryptionModel.AMD_SEV_ES
    slots = CloudSlots((SEV, FREE_ES), SLOTS.nodes, names=NAMES)
    (place,) = plan.host_verdicts(question, slots, cloud().computes)
    assert place.takes and place.why.startswith("5 of 5 slots of AMD SEV-ES")


@pytest.mark.parametrize("order", ["rsd", "drs", "srd"])
def test_a_pool_of_disks_that_hosts_share(order: str) -> None:
    """Its tree is its own, and it may stand anywhere in a candidate."""
    parts: dict[str, tuple[str, dict[str, Any]]] = {
        "r": ("root", {"VCPU": 2}),
        "s": ("sev", {SLOT: 1}),
        "d": ("nfs", {"DISK_GB": 10}),
    }
    shared = {"root_provider_uuid": "nfs", "resources": {}, "traits": []}
    given = {
        "allocation_requests": [
            {"allocations": {parts[k][0]: {"resources": parts[k][1]} for k in order}}
        ],
        "provider_summaries": {**summaries(), "nfs": shared},
    }
    slots = dataclasses.replace(KNOWN, names={**NAMES, "nfs": "nfs-shares"})
    (place,) = plan.host_verdicts(ask(given, ROOMY), slots, (NODE1,))
    assert place == plan.HostVerdict("node1", True, "12 of 15 slots of AMD SEV free")


def test_a_host_with_a_slot_that_was_not_listed() -> None:
    """It came between Placement's two answers."""
    slots = dataclasses.replace(KNOWN, pools=())
    (place,) = plan.host_verdicts(ask(answer("sev"), ROOMY), slots, (NODE1,))
    assert place == plan.HostVerdict("node1", True, "a slot of AMD SEV is free")
