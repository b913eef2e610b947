# SPDX-License-Identifier: Apache-2.0
"""The results: kept as JSON, shown as a table and a plot."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.samples import Series

RESULTS = Path(__file__).parent / "results"


def machine(remark: str) -> dict[str, Any]:
    """What the figures are good for: the date, and on what they were taken."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "date": datetime.date.today().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        # What a distribution or a cloud appends names its build, not its speed.
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "remark": remark,
    }


def write(folder: Path, about: dict[str, Any], found: Iterable[Series]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    series = [dataclasses.asdict(one) for one in found]
    text = json.dumps({"machine": about, "series": series}, indent=1)
    (folder / "results.json").write_text(text + "\n")


def read(folder: Path) -> tuple[dict[str, Any], list[Series]]:
    kept = json.loads((folder / "results.json").read_text())
    return kept["machine"], [Series(**one) for one in kept["series"]]


def table(about: dict[str, Any], found: Iterable[Series]) -> str:
    """In reStructuredText, with a line on the machine before it."""
    rows = [_HEAD, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    lines = [line.rstrip() for line in lines]
    remark = f", {about['remark']}" if about["remark"] else ""
    where = (
        f"Taken on {about['date']}, on {about['cores']} cores{remark}: "
        f"{about['processor']}, Linux {about['kernel']}, Python {about['python']}."
    )
    return "\n".join([where, "", rule, lines[0], rule, *lines[1:], rule, ""])


_HEAD = ("Work", "Size", "stock", "ours", "ours/stock", "spread", "allowed")


def _row(one: Series) -> tuple[str, ...]:
    low, high = one.spread
    exact = one.unit in ("calls", "/s")
    counted = exact or one.unit == "functions"
    mark = {None: "", True: "", False: " **over**"}[one.kept]
    return (
        f"{one.bench}, {one.case}",
        f"{one.size} {one.sized.removesuffix('s') if one.size == 1 else one.sized}",
        _amount(statistics.median(one.stock), one.unit),
        _amount(statistics.median(one.ours), one.unit),
        "" if exact else f"{one.ratio:.2f}{mark}",
        "" if counted else f"{low:.2f} to {high:.2f}",
        _allowed(one),
    )


def _allowed(one: Series) -> str:
    if one.more is not None:
        return f"+ {_amount(one.more, one.unit)}"
    return "" if one.bound is None else f"{one.bound:.2f}"


def _amount(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "/s":
        return f"{value:.1f} a second"
    return f"{value:.0f} {unit}"
