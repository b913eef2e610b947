# SPDX-License-Identifier: Apache-2.0
"""Measured pairs, stock and ours, and what is told of them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping

#: The drivers, as nova.conf names them.
DRIVERS = {"stock": "libvirt.LibvirtDriver", "ours": "sev_driver.SEVDriver"}


@dataclasses.dataclass(frozen=True)
class Series:
    """One piece of work at one size, done by both drivers again and again.

    :param bench: what is measured, such as "guest XML".
    :param case: which kind of it, such as "encrypted".
    :param size: how much work; ``sized`` says of what.
    :param unit: of the values: s, MiB, calls, or functions.
    :param bound: what the ratio may be; None where it is only told.
    :param more: by how much ours may be more than stock, in the unit; it counts in
        place of a ratio where stock does next to nothing.
    """

    bench: str
    case: str
    size: int
    sized: str
    unit: str
    bound: float | None
    stock: list[float]
    ours: list[float]
    more: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Ours to stock, of the two that were measured one after the other."""
        pairs = zip(self.stock, self.ours, strict=True)
        return [ours / stock if stock else float(ours > 0) for stock, ours in pairs]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The middle half of the ratios; all of them where they are few."""
        ratios = sorted(self.ratios)
        if len(ratios) < 4:
            return ratios[0], ratios[-1]
        first, _, third = statistics.quantiles(ratios, n=4, method="inclusive")
        return first, third

    @property
    def kept(self) -> bool | None:
        """Whether ours is within its bound; None where there is none."""
        if self.more is not None:
            ours, stock = statistics.median(self.ours), statistics.median(self.stock)
            return ours - stock <= self.more
        return None if self.bound is None else round(self.ratio, 2) <= self.bound


def turns(rounds: int) -> Iterator[tuple[str, str]]:
    """Who goes first and who second: neither always profits from the other."""
    for number in range(rounds):
        first, second = list(DRIVERS)[:: 1 if number % 2 == 0 else -1]
        yield first, second


def interleave(
    work: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Return what the works of both drivers return, done in turn."""
    values: dict[str, list[float]] = {name: [] for name in work}
    for pair in turns(rounds):
        for name in pair:
            values[name].append(work[name]())
    return values
