# SPDX-License-Identifier: Apache-2.0

"""When Placement is asked again who holds slots."""

import pytest

from sev_driver.placement.freshness import SETTLING, may_reuse

#: Seconds.
INTERVAL = 600


@pytest.mark.parametrize(
    ("queried", "changed", "now", "interval", "expected"),
    [
        # A change since the query.
        (100, 101, 102, INTERVAL, False),
        # The query of the update that saw the change: Nova may be at it still.
        (100, 100, 101, INTERVAL, False),
        (100 + SETTLING - 1, 100, 100 + SETTLING, INTERVAL, False),
        # Nothing has changed for a while before the query.
        (100 + SETTLING, 100, 101 + SETTLING, INTERVAL, True),
        (1000, 100, 1000 + INTERVAL - 1, INTERVAL, True),
        # The bound.
        (1000, 100, 1000 + INTERVAL, INTERVAL, False),
        # An interval below the time after a change counts for both.
        (110, 100, 115, 10, True),
        (109, 100, 115, 10, False),
        (110, 100, 120, 10, False),
        # No answer is used again.
        (1000, 100, 1000, 0, False),
        (1000, 100, 1001, 0, False),
    ],
)
def test_may_reuse(
    queried: float, changed: float, now: float, interval: float, expected: bool
) -> None:
    assert may_reuse(queried, changed, now, interval) is expected


def queries(minutes: range, changes: set[int], interval: float = INTERVAL) -> list[int]:
    """Return the minutes in which one update each minute queries Placement."""
    asked: list[int] = []
    changed = float(minutes[0] * 60)
    queried: float | None = None
    for minute in minutes:
        now = minute * 60.0
        if minute in changes:
            changed = now
        if queried is None or not may_reuse(queried, changed, now, interval):
            queried = now
            asked.append(minute)
    return asked


def test_a_quiet_hour_has_six_queries() -> None:
    asked = queries(range(0, 600), set())
    assert asked[:4] == [0, 1, 2, 12]
    for start in range(3, 540):
        assert sum(start <= minute < start + 60 for minute in asked) <= 6


def test_each_change_is_asked_about_at_once_and_until_it_has_settled() -> None:
    assert queries(range(0, 40), {20, 25, 26}) == [
        0, 1, 2, 12, 20, 21, 22, 25, 26, 27, 28, 38,
    ]  # fmt: skip


def test_an_interval_of_none_asks_in_each_update() -> None:
    assert queries(range(0, 9), set(), interval=0) == list(range(0, 9))
