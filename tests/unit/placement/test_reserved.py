# SPDX-License-Identifier: Apache-2.0

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.host.capabilities import HostCapabilities, ModelCapability
from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import inventory
from sev_driver.placement.inventory import SlotOffer
from sev_driver.placement.pools import pools_of
from sev_driver.placement.reserved import (
    ModelUsage,
    compute_reserved,
    reserve_resources,
)

SEV = MemoryEncryptionModel.AMD_SEV
ES = MemoryEncryptionModel.AMD_SEV_ES
SNP = MemoryEncryptionModel.AMD_SEV_SNP


def host(
    sev: int | None, es: int | None, snp: int | None, shared: int | None
) -> HostCapabilities:
    numbers = zip((SEV, ES, SNP), (sev, es, snp), strict=True)
    each = (ModelCapability(model, slots=slots) for model, slots in numbers)
    return HostCapabilities(tuple(each), shared)


#: Slots of the hardware, slots offered, slots allocated, guests beyond these; what
#: is reserved.
PLAIN = {
    "nobody": (15, 15, 0, 0, 0),
    "one": (15, 15, 0, 1, 1),
    "one beside Nova's": (15, 15, 3, 1, 1),
    "all": (15, 15, 0, 15, 15),
    "they take what is not offered first": (15, 12, 0, 3, 0),
    "and then what is": (15, 12, 0, 4, 1),
    "the number is not told": (None, 7, 0, 2, 2),
    "there is no limit": (None, inventory.UNLIMITED, 0, 2, 2),
    "nothing is offered": (15, 0, 0, 2, 0),
    "more than there are": (2, 2, 0, 3, 2),
    "all are allocated": (2, 2, 2, 1, 1),
}


@pytest.mark.parametrize("case", PLAIN)
def test_plain_sev(case: str) -> None:
    size, offered, allocated, unallocated, wanted = PLAIN[case]
    found = compute_reserved(
        pools_of(host(size, None, None, None)),
        {SEV: SlotOffer(offered, "")},
        {SEV: ModelUsage(allocated, unallocated)},
    )
    assert found[SEV] == wanted


#: The pool, offered of ES and SNP, allocated, guests beyond these; reserved.
SHARED = {
    "an ES guest where only SNP is offered": (5, (0, 5), (0, 0), (1, 0), (0, 1)),
    "each takes its own": (5, (2, 3), (0, 0), (1, 1), (1, 1)),
    "ES' own are gone: it is SNP that has less": (5, (2, 3), (0, 0), (3, 0), (2, 1)),
    "ES' own are allocated": (5, (2, 3), (2, 0), (1, 0), (1, 1)),
    "some are not offered": (9, (2, 3), (0, 0), (3, 2), (1, 0)),
    "ES guests from before SNP was on": (5, (0, 5), (2, 0), (0, 0), (0, 2)),
    "ES' option was lowered under its guests": (5, (1, 4), (3, 1), (0, 0), (0, 2)),
    "and others run beside": (5, (1, 4), (3, 0), (1, 0), (1, 3)),
}


@pytest.mark.parametrize("case", SHARED)
def test_the_pool_of_es_and_snp(case: str) -> None:
    pool, offered, allocated, unallocated, wanted = SHARED[case]
    found = compute_reserved(
        pools_of(host(10, pool, pool, pool)),
        {model: SlotOffer(n, "") for model, n in zip((ES, SNP), offered, strict=True)},
        {
            ES: ModelUsage(allocated[0], unallocated[0]),
            SNP: ModelUsage(allocated[1], unallocated[1]),
        },
    )
    assert (found[ES], found[SNP]) == wanted


@pytest.mark.parametrize(("unallocated", "wanted"), [(3, 0), (4, 1), (5, 2)])
def test_with_ciphertext_hiding_one_takes_only_what_cannot_be_its_own(
    unallocated: int, wanted: int
) -> None:
    found = compute_reserved(
        pools_of(host(10, 3, 2, 5)),
        {ES: SlotOffer(3, ""), SNP: SlotOffer(2, "")},
        {ES: ModelUsage(3, unallocated)},
    )
    assert found[SNP] == wanted


COUNT = st.integers(0, 8)


@given(
    pool=COUNT,
    offered=st.tuples(COUNT, COUNT),
    allocated=st.tuples(COUNT, COUNT),
    unallocated=st.tuples(COUNT, COUNT),
)
def test_no_slot_is_given_away_twice_and_none_is_held_back(
    pool: int,
    offered: tuple[int, int],
    allocated: tuple[int, int],
    unallocated: tuple[int, int],
) -> None:
    es, snp = min(offered[0], pool), min(offered[1], pool)
    offer = {ES: SlotOffer(es, ""), SNP: SlotOffer(min(snp, pool - es), "")}
    uses = {
        ES: ModelUsage(allocated[0], unallocated[0]),
        SNP: ModelUsage(allocated[1], unallocated[1]),
    }

    found = compute_reserved(pools_of(host(None, pool, pool, pool)), offer, uses)

    held = sum(use.allocated for use in uses.values())
    strangers = sum(use.unallocated for use in uses.values())
    free = most = 0
    for model, slots in offer.items():
        assert 0 <= found[model] <= slots.total
        free += max(0, slots.total - found[model] - uses[model].allocated)
        most += max(0, slots.total - uses[model].allocated)
    assert free == max(0, min(most, pool - held - strangers))


def record(total: int, reserved: int = 0, ratio: float = 1.0) -> dict[str, float]:
    return {"total": total, "reserved": reserved, "allocation_ratio": ratio}


@pytest.mark.parametrize(
    ("inventories", "used", "reserved"),
    [
        ({"MEMORY_MB": record(100, 5)}, [], {"MEMORY_MB": 5}),
        ({"MEMORY_MB": record(100, 5)}, [{"MEMORY_MB": 20}], {"MEMORY_MB": 25}),
        (
            {"MEMORY_MB": record(100, 5), "VCPU": record(8)},
            [{"MEMORY_MB": 20, "VCPU": 1}, {"MEMORY_MB": 10}],
            {"MEMORY_MB": 35, "VCPU": 1},
        ),
        # Placement takes no more than the total.
        ({"MEMORY_MB": record(100, 90)}, [{"MEMORY_MB": 20}], {"MEMORY_MB": 100}),
        # What is overcommitted is kept back at the same ratio.
        ({"VCPU": record(8, ratio=4.0)}, [{"VCPU": 6}], {"VCPU": 2}),
        ({"VCPU": record(8)}, [{"DISK_GB": 6}], {"VCPU": 0}),
    ],
)
def test_reserve_resources(
    inventories: dict[str, dict[str, float]],
    used: list[dict[str, int]],
    reserved: dict[str, int],
) -> None:
    before = copy.deepcopy(inventories)
    after = reserve_resources(inventories, used)
    assert {name: each["reserved"] for name, each in after.items()} == reserved
    assert inventories == before
