# SPDX-License-Identifier: Apache-2.0

"""How a finding is shown: as lines for people, and as JSON for programs."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.exceptions import printable

#: Of the JSON. It grows when something is removed or changes its meaning.
FORMAT = 1

#: Far above what a check says by itself.
_LONGEST = 2000

_SYMBOLS = {
    Verdict.PASS: "✔",
    Verdict.WARN: "!",
    Verdict.FAIL: "✘",
    Verdict.SKIP: "-",
}
_COLOURS = {
    Verdict.PASS: "32",
    Verdict.WARN: "33",
    Verdict.FAIL: "31",
    Verdict.SKIP: "2",
}


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a report comes from.

    ``version`` is that of the sev_driver that judged, ``host`` the name of the host
    that was read, or that asked the cloud, ``date`` when, in UTC.
    """

    version: str
    host: str
    date: str

    def as_json(self) -> dict[str, str]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Style:
    """``width`` is that of a line; ``verbose`` shows what each check reads, too."""

    width: int = 80
    colour: bool = False
    verbose: bool = False


def finding_lines(
    finding: Finding, title: str, manual: str, style: Style
) -> Iterator[str]:
    """Yield a finding's lines: its verdict and title, what was found, the remedy."""
    first, *more = wrapped(title, style.width)
    mark = f"{_SYMBOLS[finding.verdict]} {finding.verdict.value.upper()}"
    if style.colour:
        mark = f"\033[{_COLOURS[finding.verdict]}m{mark}\033[0m"
    yield f"  {mark}  {first.strip()}"
    yield from more
    if style.verbose or finding.verdict is not Verdict.PASS:
        yield from wrapped(finding.seen, style.width)
    if finding.remedy:
        yield from wrapped(finding.remedy, style.width, "→ ")
    if style.verbose:
        yield from wrapped(f"Reads {finding.check.reads}.", style.width)
        yield from wrapped(f"Manual: {manual}", style.width)


def finding_json(finding: Finding, manual: str) -> dict[str, Any]:
    """Return what all reports show of a finding."""
    return {
        "id": finding.check.id,
        "reads": finding.check.reads,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "remedy": finding.remedy or None,
        "manual": manual,
    }


def wrapped(text: str, width: int, mark: str = "") -> list[str]:
    """Return a text as lines below a finding's first one."""
    # It may quote the host, and the host may be a saved archive: a terminal must not
    # act on what is in there.
    return textwrap.wrap(
        printable(" ".join(text.split()), _LONGEST),
        max(width, 40),
        initial_indent=" " * 10 + mark,
        subsequent_indent=" " * (10 + len(mark)),
        break_long_words=False,
        break_on_hyphens=False,
    )
