# SPDX-License-Identifier: Apache-2.0


"""inventory: what an inventory of Placement's comes to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.placement import inventory
from sev_driver.placement.inventory import SlotUsage


@pytest.mark.parametrize(
    ("entry", "used", "offered", "expected"),
    [
        # A host that has no slots has no provider, either.
        (None, 0, False, SlotUsage(0, 0, 0, 0)),
        (inventory.record(15), 0, True, SlotUsage(0, 15, 0, 0)),
        (inventory.record(15, 2), 3, True, SlotUsage(3, 10, 2, 0)),
        (inventory.record(2), 2, True, SlotUsage(2, 0, 0, 0)),
        # The option was lowered while guests held more.
        (inventory.record(2), 3, True, SlotUsage(3, 0, 0, 0)),
        # A guest of a stranger's beside as many of Nova's as there are slots.
        (inventory.record(2, 1), 2, True, SlotUsage(2, 0, 1, 0)),
        # Placement was not asked.
        (inventory.record(15, 2), None, True, SlotUsage(None, None, 2, 0)),
        # Lost while three guests held its slots.
        (inventory.fully_reserved(3), 0, False, SlotUsage(0, 0, 0, 3)),
    ],
)
def test_what_becomes_of_the_slots(
    entry: dict[str, Any] | None, used: int | None, offered: bool, expected: SlotUsage
) -> None:
    assert inventory.compute_usage(entry, used, is_offered=offered) == expected


@given(st.integers(1, 600), st.integers(0, 600), st.integers(0, 600))
def test_none_is_counted_twice(total: int, used: int, reserved: int) -> None:
    entry = inventory.record(total, min(total, reserved))
    usage = inventory.compute_usage(entry, used, is_offered=True)
    assert usage.used is not None and usage.free is not None
    together = usage.used + usage.free + usage.reserved + usage.lost
    assert together == max(total, used + min(total, reserved))
