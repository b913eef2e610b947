# SPDX-License-Identifier: Apache-2.0

"""When Placement is queried for the consumers of a provider's slots."""

import dataclasses

import pytest

from sev_driver.compute.slot_consumers import KnownConsumers, PlacementQueries
from sev_driver.model import SEV
from sev_driver.placement.freshness import SETTLING, Situation

#: Seconds.
INTERVAL = 600
QUIET = Situation(frozenset({("a", 1)}), {}, {SEV: 10}, {"node_amd_sev": 3})


class Placement(PlacementQueries):
    """Counts the queries, and has a clock that is set by hand."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self.now = 1000.0
        self.queries = 0
        self.error: Exception | None = None
        self.known = KnownConsumers(self, interval, lambda: self.now)

    def consumers_of(self, provider: str) -> frozenset[str]:
        self.queries += 1
        if self.error:
            raise self.error
        return frozenset({f"{provider} {self.queries}"})

    def update(self, seconds: float, situation: Situation = QUIET) -> int:
        """Ask twice, that many seconds after the last update; return the queries."""
        self.now += seconds
        before = self.queries
        self.known.observe(situation)
        for provider in ("sev", "snp"):
            self.known.consumers_of(provider)
        return self.queries - before

    def settle(self) -> None:
        for _ in range(3):
            self.update(SETTLING)


@pytest.fixture
def placement() -> Placement:
    found = Placement()
    found.settle()
    assert found.update(60) == 0
    return found


def test_the_first_updates_ask() -> None:
    placement = Placement()
    assert [placement.update(60) for _ in range(5)] == [2, 2, 2, 0, 0]


def test_nothing_is_asked_until_the_interval_is_over(placement: Placement) -> None:
    asked = [placement.update(60) for _ in range(60)]
    assert sum(asked) == 2 * 6


@pytest.mark.parametrize(
    "change",
    [
        # A guest that started again, one that is new, and one that is gone.
        {"running": frozenset({("a", 2)})},
        {"running": frozenset({("a", 1), ("b", 2)})},
        {"running": frozenset()},
        {"outside": {SEV: 1}},
        {"offers": {SEV: 9}},
        {"generations": {"node_amd_sev": 4}},
        {"generations": {}},
    ],
)
def test_a_change_is_asked_about_at_once_and_until_it_has_settled(
    change: dict[str, object], placement: Placement
) -> None:
    changed = dataclasses.replace(QUIET, **change)
    assert [placement.update(60, changed) for _ in range(4)] == [2, 2, 2, 0]


def test_what_is_forgotten_is_asked_again(placement: Placement) -> None:
    placement.known.forget()
    assert [placement.update(60) for _ in range(2)] == [2, 0]


def test_an_interval_of_none_asks_each_time() -> None:
    placement = Placement(interval=0)
    assert [placement.update(60) for _ in range(9)] == [2] * 9


def test_an_answer_that_does_not_come_is_asked_for_again(placement: Placement) -> None:
    placement.known.forget()
    placement.error = OSError("down")
    with pytest.raises(OSError, match="down"):
        placement.update(60)
    placement.error = None
    assert placement.update(60) == 2
