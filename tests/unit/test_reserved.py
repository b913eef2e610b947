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


import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver import inventory
from sev_driver.capabilities import HostCapabilities, ModelCapability
from sev_driver.inventory import Slots
from sev_driver.model import MemoryEncryptionModel
from sev_driver.reserved import Use, reserve

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
    size, offered, allocated, uncovered, wanted = PLAIN[case]
    found = reserve(
        host(size, None, None, None),
        {SEV: Slots(offered, "")},
        {SEV: Use(allocated, uncovered)},
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
    pool, offered, allocated, uncovered, wanted = SHARED[case]
    found = reserve(
        host(10, pool, pool, pool),
        {model: Slots(n, "") for model, n in zip((ES, SNP), offered, strict=True)},
        {
            ES: Use(allocated[0], uncovered[0]),
            SNP: Use(allocated[1], uncovered[1]),
        },
    )
    assert (found[ES], found[SNP]) == wanted


@pytest.mark.parametrize(("uncovered", "wanted"), [(3, 0), (4, 1), (5, 2)])
def test_with_ciphertext_hiding_one_takes_only_what_cannot_be_its_own(
    uncovered: int, wanted: int
) -> None:
    found = reserve(
        host(10, 3, 2, 5),
        {ES: Slots(3, ""), SNP: Slots(2, "")},
        {ES: Use(3, uncovered)},
    )
    assert found[SNP] == wanted


COUNT = st.integers(0, 8)


@given(
    pool=COUNT,
    offered=st.tuples(COUNT, COUNT),
    allocated=st.tuples(COUNT, COUNT),
    uncovered=st.tuples(COUNT, COUNT),
)
def test_no_slot_is_given_away_twice_and_none_is_held_back(
    pool: int,
    offered: tuple[int, int],
    allocated: tuple[int, int],
    uncovered: tuple[int, int],
) -> None:
    es, snp = min(offered[0], pool), min(offered[1], pool)
    offer = {ES: Slots(es, ""), SNP: Slots(min(snp, pool - es), "")}
    uses = {
        ES: Use(allocated[0], uncovered[0]),
        SNP: Use(allocated[1], uncovered[1]),
    }

    found = reserve(host(None, pool, pool, pool), offer, uses)

    held = sum(use.allocated for use in uses.values())
    strangers = sum(use.uncovered for use in uses.values())
    free = most = 0
    for model, slots in offer.items():
        assert 0 <= found[model] <= slots.total
        free += max(0, slots.total - found[model] - uses[model].allocated)
        most += max(0, slots.total - uses[model].allocated)
    assert free == max(0, min(most, pool - held - strangers))
