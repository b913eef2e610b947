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
"""bios_checks: the number of ASIDs that is advised."""

import dataclasses

import pytest
from host_facts import EVERYTHING, SEV_ES, parameters
from nova_evidence import evidence

from sev_driver.doctor import bios_checks
from sev_driver.doctor.finding import Verdict
from sev_driver.doctor.tree import look


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
    found = look(bios_checks.NODES, evidence(facts=facts), SEV_ES)
    (asids,) = (each for each in found if each.check.id == "bios.asids")
    assert (asids.verdict, said in asids.remedy) == (Verdict.FAIL, True), asids
