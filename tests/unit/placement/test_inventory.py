# SPDX-License-Identifier: Apache-2.0


import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.host.capabilities import HostCapabilities, ModelCapability, ObstacleKind
from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import inventory

SEV = MemoryEncryptionModel.AMD_SEV
ES = MemoryEncryptionModel.AMD_SEV_ES
SNP = MemoryEncryptionModel.AMD_SEV_SNP


def capability(
    slots: int | None, model: MemoryEncryptionModel = SEV
) -> ModelCapability:
    return ModelCapability(model, slots=slots, slots_source="libvirt")


def off(model: MemoryEncryptionModel) -> ModelCapability:
    return ModelCapability(model, ObstacleKind.PARAMETER_OFF, "why")


def host(
    es: int | None, snp: int | None, shared: int | None, sev: int | None = 10
) -> HostCapabilities:
    each = (capability(sev), capability(es, ES), capability(snp, SNP))
    return HostCapabilities(each, shared)


@pytest.mark.parametrize(
    ("detected", "cap", "total"),
    [
        (15, None, 15),
        # More than Placement stores, as the kernel's 64 bits may say.
        (2**63, None, inventory.UNLIMITED),
        (2**63, 4, 4),
        (15, 0, 0),
        (15, 4, 4),
        (15, 15, 15),
        (15, 16, 15),
        (None, None, inventory.UNLIMITED),
        (None, 0, 0),
        (None, 7, 7),
    ],
)
def test_count(detected: int | None, cap: int | None, total: int) -> None:
    assert inventory.compute_offer(capability(detected), cap).total == total


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_a_cap_above_the_hardware_is_warned_of(model: MemoryEncryptionModel) -> None:
    slots = inventory.compute_offer(capability(15, model), 100)
    assert slots.warning is not None
    assert "is 100, but this host has 15 slots" in slots.warning
    assert inventory.LIMIT_OPTIONS[model] in slots.warning
    assert inventory.compute_offer(capability(15, model), 15).warning is None
    assert inventory.compute_offer(capability(15, model), 4).warning is None


@pytest.mark.parametrize("obstacle", ObstacleKind)
def test_without_support_a_cap_offers_nothing(obstacle: ObstacleKind) -> None:
    slots = inventory.compute_offer(ModelCapability(SEV, obstacle, "why"), 10)
    assert (slots.total, slots.source) == (0, "why")


#: What libvirt or CPUID says of each, the pool, the options; what is offered.
POOLS = {
    "SNP has all by default": (5, 5, 5, None, None, 0, 5),
    "an option can keep some for ES": (5, 5, 5, 2, None, 2, 3),
    "ES has what SNP's option leaves": (5, 5, 5, None, 2, 3, 2),
    "both fit": (5, 5, 5, 2, 3, 2, 3),
    "both fit, and some are left over": (5, 5, 5, 1, 2, 1, 2),
    "both do not fit: ES' option rules": (5, 5, 5, 4, 4, 4, 1),
    "an option above the pool": (5, 5, 5, 9, None, 5, 0),
    "ES is not wanted": (5, 5, 5, 0, None, 0, 5),
    "SNP is not wanted": (5, 5, 5, None, 0, 5, 0),
    "ciphertext hiding: each has its own": (3, 2, 5, None, None, 3, 2),
    "ciphertext hiding, with an option": (3, 2, 5, 1, None, 1, 2),
    "the pool is not told": (5, 5, None, None, None, 0, 5),
    "only one number is told": (5, None, None, 2, None, 2, 3),
    "no number is told": (None, None, None, None, None, 0, inventory.UNLIMITED),
    "no number but the options": (None, None, None, 2, 3, 2, 3),
    "no number but one option": (None, None, None, 2, None, 2, 0),
    "the pool alone is told": (None, None, 5, None, 2, 3, 2),
}


@pytest.mark.parametrize("case", POOLS)
def test_the_pool_of_es_and_snp(case: str) -> None:
    es, snp, shared, es_cap, snp_cap, offered_es, offered_snp = POOLS[case]
    caps = {ES: es_cap, SNP: snp_cap}
    offered = inventory.compute_offers(host(es, snp, shared), caps)
    found = offered[ES].total, offered[SNP].total
    assert found == (offered_es, offered_snp)
    assert offered[SEV].total == 10


NUMBERS = st.none() | st.integers(0, 9)


@given(NUMBERS, NUMBERS, st.integers(0, 9), NUMBERS, NUMBERS)
def test_never_more_than_the_pool_holds(
    es: int | None, snp: int | None, shared: int, cap: int | None, snp_cap: int | None
) -> None:
    offered = inventory.compute_offers(host(es, snp, shared), {ES: cap, SNP: snp_cap})
    if offered[ES].total and offered[SNP].total:
        assert offered[ES].total + offered[SNP].total <= shared


def test_the_split_is_explained() -> None:
    offered = inventory.compute_offers(host(5, 5, 5), {})
    assert offered[ES].source == (
        "AMD SEV-SNP has 5 of the 5 slots that both share; [sev] num_sev_es_guests "
        "can keep some for AMD SEV-ES"
    )
    assert offered[ES].warning is None
    warning = inventory.compute_offers(host(5, 5, 5), {ES: 4, SNP: 4})[SNP].warning
    assert warning == (
        "[sev] num_sev_snp_guests is 4, but AMD SEV-ES has 4 of the 5 slots that both "
        "share; 1 are offered. Lower one of the two."
    )


@pytest.mark.parametrize("lost", [ES, SNP])
def test_where_one_is_off_the_other_has_the_pool(lost: MemoryEncryptionModel) -> None:
    (other,) = {ES, SNP} - {lost}
    lonely = HostCapabilities((off(lost), capability(5, other)), 5)
    assert inventory.compute_offers(lonely, {lost: 3})[other].total == 5


def test_record() -> None:
    assert inventory.record(15, 2) == {
        "total": 15,
        "min_unit": 1,
        "max_unit": 1,
        "step_size": 1,
        "reserved": 2,
        "allocation_ratio": 1.0,
    }
    assert inventory.fully_reserved(3) == inventory.record(3, 3)
    assert inventory.is_fully_reserved(inventory.record(3, 3))
    assert not inventory.is_fully_reserved(inventory.record(3, 2))


@pytest.mark.parametrize(
    ("had", "held", "wanted"),
    [
        (inventory.record(15), 3, inventory.record(15)),
        (inventory.record(15, 12), 3, inventory.record(15, 12)),
        (inventory.record(15, 13), 3, inventory.record(3)),
        (inventory.record(2), 3, inventory.record(3)),
        (inventory.fully_reserved(3), 3, inventory.record(3)),
    ],
)
def test_room_for_guests_that_move_in(
    had: dict[str, object], held: int, wanted: dict[str, object]
) -> None:
    assert inventory.with_room_for(had, held) == wanted
