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

from sev_driver.policy import (
    DEFAULT_SEV_ES_POLICY,
    DEFAULT_SEV_POLICY,
    DEFAULT_SNP_POLICY,
    SevPolicy,
    SnpPolicy,
)


def test_the_defaults_are_stock_novas() -> None:
    assert DEFAULT_SEV_POLICY.format() == "0x0033"
    assert DEFAULT_SEV_ES_POLICY.format() == "0x0037"
    assert DEFAULT_SNP_POLICY.format() == "0x00030000"


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("0x0033", DEFAULT_SEV_POLICY),
        ("51", DEFAULT_SEV_POLICY),
        (" 0x37 ", DEFAULT_SEV_POLICY | SevPolicy.ES),
        ("0x01370033", DEFAULT_SEV_POLICY | 0x01370000),
        ("NODBG|NOKS|DOMAIN|SEV", DEFAULT_SEV_POLICY),
        ("nodbg, noks, es, domain, sev", DEFAULT_SEV_ES_POLICY),
    ],
)
def test_parse(text: str, policy: SevPolicy) -> None:
    assert SevPolicy.parse(text) == policy


@pytest.mark.parametrize(
    "text", ["", "policy", "-1", "0x100000000", "0x40", "0x8033", "NODBG|"]
)
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


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("0x30000", DEFAULT_SNP_POLICY),
        ("0x3013A", DEFAULT_SNP_POLICY | 0x013A),
        ("SMT", DEFAULT_SNP_POLICY),
        ("SINGLE_SOCKET", SnpPolicy.RSVD_MBO | SnpPolicy.SINGLE_SOCKET),
        ("0x2020000", SnpPolicy.RSVD_MBO | SnpPolicy.PAGE_SWAP_DISABLE),
    ],
)
def test_parse_snp(text: str, policy: SnpPolicy) -> None:
    assert SnpPolicy.parse(text) == policy


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0x10000", "lacks 0x20000"),
        ("0x4020000", "reserved"),
        ("0x10000000000020000", "64 bits"),
        ("NODBG", "'NODBG' is no bit of a SEV-SNP policy: SMT"),
        ("", "'' is no bit"),
    ],
)
def test_what_is_no_snp_policy_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SnpPolicy.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_an_snp_policy_or_a_value_error(text: str) -> None:
    try:
        policy = SnpPolicy.parse(text)
    except ValueError:
        return
    assert SnpPolicy.parse(policy.format()) == policy


def test_debugging_is_a_bit_unset_for_sev_and_set_for_snp() -> None:
    assert SevPolicy.parse("0x32").debug and not DEFAULT_SEV_POLICY.debug
    assert SnpPolicy.parse("0xb0000").debug and not DEFAULT_SNP_POLICY.debug
