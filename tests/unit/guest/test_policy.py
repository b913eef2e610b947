# SPDX-License-Identifier: Apache-2.0

"""policy: bits in, numbers out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.guest.policy import (
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


@given(st.integers(0, 0x3F), st.integers(0, 0x3F))
def test_a_policy_is_never_weaker_than_one_with_fewer_restrictions(
    policy: int, fewer: int
) -> None:
    assert SevPolicy(policy).weaknesses(SevPolicy(policy & fewer)) == ()


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_the_least_version_is_compared_as_a_version(one: int, other: int) -> None:
    """SNP's has the major version in the higher byte, SEV's in the lower one."""
    base = int(DEFAULT_SNP_POLICY)
    weak = SnpPolicy(base | one).weaknesses(SnpPolicy(base | other))
    assert weak == (("VERSION",) if one < other else ())
    swapped = [(n & 0xFF) << 24 | (n >> 8) << 16 for n in (one, other)]
    policies = [SevPolicy(n) for n in swapped]
    least = [(int(p) >> 16 & 0xFF, int(p) >> 24) for p in policies]
    weak = policies[0].weaknesses(policies[1])
    assert weak == (("VERSION",) if least[0] < least[1] else ())


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
        ("NODBG", "'NODBG' is not a bit of a SEV-SNP policy: use SMT"),
        ("", "'' is not a bit"),
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
