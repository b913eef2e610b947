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


"""slot_usage: what an inventory of Placement's comes to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver import inventory, slot_usage
from sev_driver.slot_usage import SlotUsage


@pytest.mark.parametrize(
    ("entry", "used", "offered", "expected"),
    [
        # A host that has no slots has no provider, either.
        (None, 0, False, SlotUsage(0, 0, 0, 0)),
        (inventory.entry(15), 0, True, SlotUsage(0, 15, 0, 0)),
        (inventory.entry(15, 2), 3, True, SlotUsage(3, 10, 2, 0)),
        (inventory.entry(2), 2, True, SlotUsage(2, 0, 0, 0)),
        # The option was lowered while guests held more.
        (inventory.entry(2), 3, True, SlotUsage(3, 0, 0, 0)),
        # A guest of a stranger's beside as many of Nova's as there are slots.
        (inventory.entry(2, 1), 2, True, SlotUsage(2, 0, 1, 0)),
        # Placement was not asked.
        (inventory.entry(15, 2), None, True, SlotUsage(None, None, 2, 0)),
        # Lost while three guests held its slots.
        (inventory.nothing_free(3), 0, False, SlotUsage(0, 0, 0, 3)),
    ],
)
def test_what_becomes_of_the_slots(
    entry: dict[str, Any] | None, used: int | None, offered: bool, expected: SlotUsage
) -> None:
    assert slot_usage.of(entry, used, offered) == expected


@given(st.integers(1, 600), st.integers(0, 600), st.integers(0, 600))
def test_none_is_counted_twice(total: int, used: int, reserved: int) -> None:
    entry = inventory.entry(total, min(total, reserved))
    usage = slot_usage.of(entry, used, True)
    assert usage.used is not None and usage.free is not None
    together = usage.used + usage.free + usage.reserved + usage.lost
    assert together == max(total, used + min(total, reserved))
