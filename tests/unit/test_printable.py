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

"""printable: one line, short, nothing that a terminal acts on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.printable import printable


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
