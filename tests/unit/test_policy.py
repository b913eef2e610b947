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

"""policy: bits in, numbers out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.policy import DEFAULT_SEV_POLICY, SevPolicy


def test_the_default_is_stock_novas() -> None:
    assert DEFAULT_SEV_POLICY.format() == "0x0033"


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("0x0033", DEFAULT_SEV_POLICY),
        ("51", DEFAULT_SEV_POLICY),
        (" 0x37 ", DEFAULT_SEV_POLICY | SevPolicy.ES),
        ("0x01370033", DEFAULT_SEV_POLICY | 0x01370000),
    ],
)
def test_parse(text: str, policy: SevPolicy) -> None:
    assert SevPolicy.parse(text) == policy


@pytest.mark.parametrize("text", ["", "policy", "-1", "0x100000000", "0x40", "0x8033"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        SevPolicy.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_policy_or_a_value_error(text: str) -> None:
    try:
        policy = SevPolicy.parse(text)
    except ValueError:
        return
    assert SevPolicy.parse(policy.format()) == policy
