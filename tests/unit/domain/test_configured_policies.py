# SPDX-License-Identifier: Apache-2.0

"""policies: what an operator may set."""

import pytest

from sev_driver.domain.launch_security import Policies
from sev_driver.exceptions import ConfigurationError
from sev_driver.guest.policy import SevPolicy, SnpPolicy


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ({"sev": SevPolicy(0x37)}, "sev_policy is 0x0037, a policy for AMD SEV-ES"),
        ({"sev_es": SevPolicy(0x33)}, "sev_es_policy is 0x0033, a policy for AMD SEV:"),
        (
            {"sev": SevPolicy(0x32)},
            "sev_policy is 0x0032, which allows the host to debug",
        ),
        ({"sev_es": SevPolicy(0x36)}, "set .sev. allow_debug"),
        ({"snp": SnpPolicy(0xB0000)}, "snp_policy is 0x000b0000, which allows"),
    ],
)
def test_a_policy_that_cannot_be_names_its_option(
    policies: dict[str, SevPolicy | SnpPolicy], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Policies(**policies)  # type: ignore[arg-type]


def test_debugging_by_leave() -> None:
    assert Policies(sev=SevPolicy(0x32), allow_debug=True).sev.debug
