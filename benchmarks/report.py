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
README = Path(__file__).parents[1] / "README.rst"
#: The remark of a machine that did nothing else.
QUIET = "quiet"
BUSY = "The times have only been taken on a busy machine so far; they are there.\n"
BEGIN, END = ".. The table of make bench begins\n", ".. and ends\n"


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
    exact = one.unit == "calls"
    mark = {None: "", True: "", False: " **over**"}[one.kept]
    return (
        f"{one.bench}, {one.case}",
        f"{one.size} {one.sized.removesuffix('s') if one.size == 1 else one.sized}",
        _amount(statistics.median(one.stock), one.unit),
        _amount(statistics.median(one.ours), one.unit),
        "" if exact else f"{one.ratio:.2f}{mark}",
        "" if exact else f"{low:.2f} to {high:.2f}",
        "" if one.bound is None else f"{one.bound:.2f}",
    )


def _amount(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.0f} {unit}"


def largest(found: Iterable[Series]) -> list[Series]:
    """Of each curve only its end, where there is most to do."""
    ends: dict[tuple[str, ...], Series] = {}
    for one in found:
        key = one.bench, one.case, one.unit
        if key not in ends or ends[key].size < one.size:
            ends[key] = one
    return list(ends.values())


def short(about: dict[str, Any], found: Iterable[Series]) -> str:
    """What README says: a busy machine's figures belong into the manual alone."""
    if about["remark"] != QUIET:
        return BUSY
    return table(about, largest(found))


def put_into(readme: str, text: str) -> str:
    """The README with another table."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
