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

"""pools: a slot of another generation is no slot."""

from typing import Any

import pytest

from sev_driver import pools
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import Fault, GuestRequest, Requirement

NAMES = {
    "root": "node1",
    "sev": "node1_amd_sev",
    "es": "node1_amd_sev_es",
    "snp": "node1_amd_sev_snp",
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
    found = pools.check(request, allocations, NAMES.__getitem__)
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


@pytest.mark.parametrize("unknown", [None, {}])
def test_nothing_is_concluded_from_nothing(unknown: Any) -> None:
    assert check(MemoryEncryptionModel.AMD_SEV, unknown) == []


def test_a_guest_without_a_slot_is_its_flavors_fault() -> None:
    no_slot = [(Requirement.SLOT, Fault.REQUEST)]
    assert check(MemoryEncryptionModel.AMD_SEV_SNP, {"root": CPU}) == no_slot
