# SPDX-License-Identifier: Apache-2.0
"""The curves: ours to stock over the size of the work."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.samples import Series

#: Of plain and of encrypted guests, in each picture; and of what is neither.
_PLAIN, _ENCRYPTED = "#1f5fa8", "#c2571a"
_OTHERS = ("#3c7d3c", "#7a4a9e", "#8a6d00", "#555555")


def draw(found: Iterable[Series], file: Path) -> None:
    """One picture a benchmark whose work grows; a curve each case."""
    timed = [one for one in found if one.unit == "s"]
    curves = collections.Counter((one.bench, one.case) for one in timed)
    shown = [one for one in timed if curves[one.bench, one.case] > 1]
    grown = [
        (name, list(group))
        for name, group in itertools.groupby(shown, key=lambda one: one.bench)
    ]
    pyplot.rcParams["svg.hashsalt"] = "benchmarks"
    # Two in a row: the manual's column is as wide as that, and the words can be read.
    rows = max(1, -(-len(grown) // 2))
    figure, axes = pyplot.subplots(rows, 2, figsize=(8, 3.2 * rows), squeeze=False)
    for axis in axes.flat[len(grown) :]:
        axis.remove()
    for axis, (name, group) in zip(axes.flat, grown, strict=False):
        _bench(axis, name, group)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def colours_of(cases: Iterable[str]) -> dict[str, str]:
    """Return a colour for each case; the same guests have the same everywhere."""
    free = {"plain": [_PLAIN], "encrypted": [_ENCRYPTED]}
    others = itertools.cycle(_OTHERS)
    found = {}
    for case in cases:
        own = next((colours for word, colours in free.items() if word in case), [])
        found[case] = own.pop() if own else next(others)
    return found


def _bench(axis: Axes, name: str, group: list[Series]) -> None:
    cases: dict[str, list[Series]] = {}
    for one in group:
        cases.setdefault(one.case, []).append(one)
    colours = colours_of(cases)
    for case, curve in cases.items():
        colour = colours[case]
        sizes = [str(one.size) for one in curve]
        ratios = [one.ratio for one in curve]
        low = [one.ratio - one.spread[0] for one in curve]
        high = [one.spread[1] - one.ratio for one in curve]
        spread = [[max(v, 0) for v in low], [max(v, 0) for v in high]]
        axis.errorbar(
            sizes, ratios, spread, label=case, color=colour, marker="o", capsize=3
        )
        bound = curve[0].bound
        if bound is not None:
            axis.axhline(bound, color=colour, linestyle=":", linewidth=1)
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set_title(name, fontsize=11)
    axis.set_xlabel(group[0].sized)
    axis.set_ylabel("ours / stock")
    axis.set_ylim(0.7, max(1.5, *(one.spread[1] * 1.05 for one in group)))
    axis.legend(fontsize=9)
