# SPDX-License-Identifier: Apache-2.0

"""pools: a slot of another generation is no slot."""

from typing import Any

import pytest

from sev_driver.exceptions import Fault, Requirement
from sev_driver.guest.requirements import ForeignRequest, GuestRequest
from sev_driver.model import ForeignModel, MemoryEncryptionModel
from sev_driver.placement import allocations as pools

NAMES = {
    "root": "node1",
    "sev": "node1_amd_sev",
    "es": "node1_amd_sev_es",
    "snp": "node1_amd_sev_snp",
    "tdx": "node1_intel_tdx",
}
SLOT = {"resources": {"MEM_ENCRYPTION_CONTEXT": 1}}
CPU = {"resources": {"VCPU": 1, "MEMORY_MB": 128}}
OWN = {
    MemoryEncryptionModel.AMD_SEV: "sev",
    MemoryEncryptionModel.AMD_SEV_ES: "es",
    MemoryEncryptionModel.AMD_SEV_SNP: "snp",
}


def check(model: MemoryEncryptionModel, allocations: Any) -> list[tuple[Any, Any]]:
    request = GuestRequest(model, ("the flavor",))
    found = pools.check_allocation(request, allocations, NAMES.__getitem__)
    return [(violation.requirement, violation.fault) for violation in found]


@pytest.mark.parametrize("model", MemoryEncryptionModel)
@pytest.mark.parametrize("provider", ["sev", "es", "snp"])
def test_only_a_slot_of_its_own_generation_will_do(
    model: MemoryEncryptionModel, provider: str
) -> None:
    wrong = [] if provider == OWN[model] else [(Requirement.POOL, Fault.HOST)]
    assert check(model, {"root": CPU, provider: SLOT}) == wrong


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_the_roots_slots_are_of_plain_sev(model: MemoryEncryptionModel) -> None:
    plain = model is MemoryEncryptionModel.AMD_SEV
    wrong = [] if plain else [(Requirement.POOL, Fault.HOST)]
    assert check(model, {"root": CPU | SLOT}) == wrong


def test_a_guest_without_a_slot_is_its_flavors_fault() -> None:
    no_slot = [(Requirement.SLOT, Fault.REQUEST)]
    assert check(MemoryEncryptionModel.AMD_SEV_SNP, {"root": CPU}) == no_slot


@pytest.mark.parametrize(
    ("allocations", "holds"),
    [
        (None, False),
        ({}, False),
        ({"root": CPU}, False),
        ({"root": CPU, "sev": SLOT}, False),
        ({"root": CPU, "tdx": SLOT}, True),
    ],
)
def test_foreign_model_needs_a_slot_of_its_own(allocations: Any, holds: bool) -> None:
    request = ForeignRequest(ForeignModel.INTEL_TDX, ("the flavor",))
    found = pools.check_foreign_allocation(request, allocations, NAMES.__getitem__)
    assert [v.requirement for v in found] == ([] if holds else [Requirement.SLOT])


def test_a_guest_without_any_allocation_has_no_slot() -> None:
    no_slot = [(Requirement.SLOT, Fault.REQUEST)]
    assert check(MemoryEncryptionModel.AMD_SEV, {}) == no_slot


@pytest.mark.parametrize(
    ("node", "kept"),
    [
        ("node1", {"root", "sev", "snp", "tdx"}),
        ("node1_amd", {"root"}),
        ("node2", {"root"}),
    ],
)
def test_slots_of_the_host_that_has_failed_are_left_out(
    node: str, kept: set[str]
) -> None:
    held = {"root": CPU, "sev": SLOT, "snp": SLOT, "tdx": SLOT}
    found = pools.without_slots_elsewhere(held, NAMES.__getitem__, node)
    assert set(found) == kept
