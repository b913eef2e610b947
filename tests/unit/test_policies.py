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

"""policies: what an operator may set."""

import pytest

from sev_driver.exceptions import ConfigurationError
from sev_driver.policies import Policies
from sev_driver.policy import SevPolicy, SnpPolicy


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ({"sev": SevPolicy(0x37)}, "sev_policy is 0x0037, a policy of AMD SEV-ES"),
        ({"sev_es": SevPolicy(0x33)}, "sev_es_policy is 0x0033, a policy of AMD SEV:"),
        ({"sev": SevPolicy(0x32)}, "sev_policy is 0x0032, by which the host may debug"),
        ({"sev_es": SevPolicy(0x36)}, "set .sev. allow_debug"),
        ({"snp": SnpPolicy(0xB0000)}, "snp_policy is 0x000b0000, by which"),
    ],
)
def test_a_policy_that_cannot_be_names_its_option(
    policies: dict[str, SevPolicy | SnpPolicy], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Policies(**policies)  # type: ignore[arg-type]


def test_debugging_by_leave() -> None:
    assert Policies(sev=SevPolicy(0x32), allow_debug=True).sev.debug
