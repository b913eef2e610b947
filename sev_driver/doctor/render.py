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
"""A diagnosis as text for people, and as JSON for programs."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from sev_driver.doctor.diagnosis import Diagnosis, Models
from sev_driver.doctor.finding import Finding, Verdict
from sev_driver.model import MemoryEncryptionModel
from sev_driver.printable import printable

#: Of the JSON; a number more where something is taken away or changes its meaning.
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
_WRONG = (Verdict.FAIL, Verdict.WARN)
_TITLES = {
    "processor": "Processor",
    "bios": "BIOS",
    "kernel": "Kernel",
    "libvirt": "libvirt and QEMU",
    "firmware": "Firmware of guests",
    "nova": "Nova",
    "slots": "Slots",
    "memory": "Memory",
}


def manual(finding: Finding) -> str:
    """Return where the manual tells of a check."""
    return "admin/doctor.html#doctor-" + finding.check.id.replace(".", "-")


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what ``--json`` prints; ``schema.json`` is its schema."""
    return {
        "format": FORMAT,
        "generation": diagnosis.asked.value,
        "would_run": not diagnosis.exit_status,
        "not_looked_at": _unseen(diagnosis, diagnosis.asked),
        "generations": {
            model.value: {
                "would_run": diagnosis.first_failure(model) is None,
                "cause": _id(diagnosis.first_failure(model)),
                "not_looked_at": _unseen(diagnosis, model),
            }
            for model in diagnosis.findings
        },
        "findings": [
            {
                "id": finding.check.id,
                "category": finding.check.category,
                "title": finding.check.title,
                "reads": finding.check.reads,
                "generations": [model.value for model in models],
                "verdict": finding.verdict.value,
                "seen": finding.seen,
                "remedy": finding.remedy or None,
                "manual": manual(finding),
            }
            for finding, models in diagnosis.merged()
        ],
    }


def _id(finding: Finding | None) -> str | None:
    return None if finding is None else finding.check.id


def _unseen(diagnosis: Diagnosis, model: MemoryEncryptionModel) -> list[str]:
    return [finding.check.id for finding in diagnosis.not_looked_at(model)]


def as_text(
    diagnosis: Diagnosis,
    width: int = 80,
    colour: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> str:
    """Return what is printed.

    :param width: of a line, in characters.
    :param colour: whether the reader's terminal shows colours.
    :param verbose: of every check what was seen, what is read, and where the manual
        tells of it.
    :param quiet: only what is wrong, and what was not looked at that decides whether
        a guest would run; nothing where there is neither.
    """
    lines: list[str] = []
    models = tuple(diagnosis.findings)
    for category, findings in _by_category(diagnosis, quiet):
        if not quiet:
            lines.append(_TITLES.get(category, category))
        for row in findings if verbose else _shortened(findings):
            lines += _row(row, len(diagnosis.findings), width, colour, verbose)
    if quiet:
        lines += _summary(diagnosis, filter(diagnosis.not_looked_at, models), width)
    else:
        lines += ["", *_summary(diagnosis, models, width)]
    return "".join(each + "\n" for each in lines)


@dataclasses.dataclass(frozen=True)
class _Row:
    """A finding, the checks that it is of, and for which generations each."""

    finding: Finding
    checks: tuple[tuple[str, Models], ...]


def _by_category(diagnosis: Diagnosis, quiet: bool) -> Iterator[tuple[str, list[_Row]]]:
    rows = [
        _Row(finding, ((finding.check.title, models),))
        for finding, models in diagnosis.merged()
        if not quiet or finding.verdict in _WRONG
    ]
    for category, found in itertools.groupby(rows, lambda r: r.finding.check.category):
        yield category, list(found)


def _shortened(rows: Iterable[_Row]) -> list[_Row]:
    """Return one row for all that passes of a check, and for all skipped alike."""
    found: dict[object, _Row] = {}
    for row in rows:
        finding = row.finding
        key: object = finding
        if finding.verdict is Verdict.PASS:
            key = finding.check.id
        elif finding.verdict is Verdict.SKIP:
            key = finding.verdict, finding.seen
        known = found.get(key)
        if known is not None:
            row = dataclasses.replace(known, checks=_joined(known.checks + row.checks))
        found[key] = row
    return list(found.values())


def _joined(checks: Iterable[tuple[str, Models]]) -> tuple[tuple[str, Models], ...]:
    """Return each title once, with all its generations."""
    found: dict[str, list[MemoryEncryptionModel]] = {}
    for title, models in checks:
        found.setdefault(title, []).extend(models)
    order = tuple(MemoryEncryptionModel)
    return tuple(
        (title, tuple(sorted(set(models), key=order.index)))
        for title, models in found.items()
    )


def _row(
    row: _Row, generations: int, width: int, colour: bool, verbose: bool
) -> Iterator[str]:
    """:param generations: how many were looked at: of all of them none is named."""
    finding = row.finding
    titles = ", ".join(
        title
        if len(models) == generations
        else f"{title} [{', '.join(_short(model) for model in models)}]"
        for title, models in row.checks
    )
    first, *more = wrapped(titles, width)
    yield line(finding.verdict, first.strip(), colour)
    yield from more
    if verbose or finding.verdict is not Verdict.PASS:
        yield from wrapped(finding.seen, width)
    if finding.remedy:
        yield from wrapped(finding.remedy, width, "→ ")
    if verbose:
        yield from wrapped(f"Reads {finding.check.reads}.", width)
        yield from wrapped(f"See {manual(finding)}", width)


def line(verdict: Verdict, text: str, colour: bool) -> str:
    """Return a finding's first line."""
    mark = f"{_SYMBOLS[verdict]} {verdict.value.upper()}"
    if colour:
        mark = f"\033[{_COLOURS[verdict]}m{mark}\033[0m"
    return f"  {mark}  {text}"


def wrapped(text: str, width: int, mark: str = "") -> list[str]:
    """Return the lines below it."""
    # It may quote the host, and the host be one of a saved archive: a terminal is
    # not told to do what is in there.
    return textwrap.wrap(
        printable(" ".join(text.split()), _LONGEST),
        max(width, 40),
        initial_indent=" " * 10 + mark,
        subsequent_indent=" " * (10 + len(mark)),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _short(model: MemoryEncryptionModel) -> str:
    return model.title.removeprefix("AMD ")


def _summary(
    diagnosis: Diagnosis, models: Iterable[MemoryEncryptionModel], width: int
) -> Iterator[str]:
    for model in models:
        cause = diagnosis.first_failure(model)
        unseen = ", ".join(f.check.title for f in diagnosis.not_looked_at(model))
        if cause is not None:
            words = "no guest would run"
            if diagnosis.undecided(model):
                words = "whether a guest would run cannot be told"
            yield f"{model.title}: {words}; see {cause.check.title}."
        elif not unseen:
            yield f"{model.title}: a guest would run."
        else:
            yield from textwrap.wrap(
                f"{model.title}: a guest would run, as far as could be looked at; not "
                f"looked at: {unseen}.",
                max(width, 40),
                subsequent_indent="  ",
                break_on_hyphens=False,
            )
