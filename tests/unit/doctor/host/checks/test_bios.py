# SPDX-License-Identifier: Apache-2.0
"""bios_checks: the number of ASIDs that is advised."""

import dataclasses

import pytest
from host_facts import EVERYTHING, SEV_ES, parameters
from nova_evidence import evidence

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host.checks import bios
from sev_driver.doctor.host.tree import checks_of, run_checks


@pytest.mark.parametrize(
    ("sev", "said"),
    [
        (509, "to a number such as 100 in"),
        # As many as a Naples has.
        (15, "to a number such as 8 in"),
        (2, "to a higher number in"),
    ],
)
def test_the_limit_that_is_advised_is_one_that_the_host_has(
    sev: int, said: str
) -> None:
    facts = dataclasses.replace(
        EVERYTHING,
        parameters=parameters(sev_es="N", sev_snp="N"),
        cpuid=None,
        domain=None,
        misc_capacity={"sev": sev, "sev_es": 0},
    )
    found = run_checks(checks_of(bios), evidence(facts=facts), SEV_ES)
    (asids,) = (each for each in found if each.check.id == "bios.asids")
    assert (asids.verdict, said in asids.remedy) == (Verdict.FAIL, True), asids
