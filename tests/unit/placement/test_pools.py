# SPDX-License-Identifier: Apache-2.0

import pytest

from sev_driver.host.capabilities import HostCapabilities, ModelCapability
from sev_driver.model import SEV, SEV_ES, SEV_SNP
from sev_driver.placement.pools import Pool, pools_of

SHARED = (SEV_ES, SEV_SNP)

#: Slots of SEV, SEV-ES, SEV-SNP, and those that the last two share; their pools.
POOLS: dict[str, tuple[tuple[int | None, ...], list[Pool]]] = {
    "shared": ((410, 99, 99, 99), [Pool((SEV,), 410), Pool(SHARED, 99)]),
    "ciphertext hiding": (
        (410, 60, 39, 99),
        [Pool((SEV,), 410), Pool((SEV_ES,), 60), Pool((SEV_SNP,), 39)],
    ),
    "ciphertext hiding for all": (
        (410, 0, 99, 99),
        [Pool((SEV,), 410), Pool(SHARED, 99)],
    ),
    "SEV-ES is off": ((410, None, 99, 99), [Pool((SEV,), 410), Pool(SHARED, 99)]),
    "no number of both": ((410, 99, 80, None), [Pool((SEV,), 410), Pool(SHARED, 99)]),
    "no number": ((None,) * 4, [Pool((SEV,), None), Pool(SHARED, None)]),
    "the shared number alone": (
        (None, None, None, 5),
        [Pool((SEV,), None), Pool(SHARED, 5)],
    ),
}


@pytest.mark.parametrize("case", POOLS)
def test_pools_of_a_host(case: str) -> None:
    (*slots, shared), pools = POOLS[case]
    models = zip((SEV, *SHARED), slots, strict=True)
    host = HostCapabilities(
        tuple(ModelCapability(model, slots=number) for model, number in models), shared
    )
    found = pools_of(host)
    assert list(found) == pools
    for pool in pools:
        for model in pool.models:
            assert found.of(model) == pool


def test_pools_of_a_host_that_says_nothing_of_a_model() -> None:
    found = pools_of(HostCapabilities((ModelCapability(SEV_ES, slots=4),), 4))
    assert list(found) == [Pool((SEV_ES,), 4)]
    with pytest.raises(KeyError):
        found.of(SEV)
