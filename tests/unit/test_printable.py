# SPDX-License-Identifier: Apache-2.0

"""printable: one line, short, nothing that a terminal acts on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.exceptions import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("q35", "q35"),
        ("a\nb\tc\x1b[2J\x00", "a?b?c?[2J?"),
        ("\u2028\u202e\udc80\x85", "????"),
        ("ä ✓", "ä ✓"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 10 + "…"),
        ("", ""),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text, 10) == expected


@given(st.text())
def test_any_text_can_be_printed_and_written(text: str) -> None:
    found = printable(text)
    assert found.isprintable() and len(found.encode()) <= 804
