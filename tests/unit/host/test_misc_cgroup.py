# SPDX-License-Identifier: Apache-2.0
"""misc_cgroup: whole words and numbers."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.exceptions import MalformedMisc
from sev_driver.host import facts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sev 410\nsev_es 99\n", {"sev": 410, "sev_es": 99}),
        # A zero capacity is left out: sev_es is not sev.
        ("sev_es 509\n", {"sev_es": 509}),
        ("res_a 50\nsev 15\ntdx 31\n", {"res_a": 50, "sev": 15, "tdx": 31}),
        ("sev max\nsev_es 3\n", {"sev_es": 3}),
        ("", {}),
        ("\n", {}),
    ],
)
def test_keys_are_whole_words(text: str, expected: dict[str, int]) -> None:
    assert facts.parse_misc(text) == expected


@pytest.mark.parametrize(
    "text", ["sev", "sev many", "sev -1", "sev 1 2", "sev \u0661", "sev 1.5", "s" * 99]
)
def test_what_the_kernel_never_writes(text: str) -> None:
    with pytest.raises(MalformedMisc):
        facts.parse_misc(text)


@given(st.text(max_size=100))
def test_any_text_is_numbers_or_our_error(text: str) -> None:
    with contextlib.suppress(MalformedMisc):
        for key, value in facts.parse_misc(text).items():
            assert key in text and value >= 0
