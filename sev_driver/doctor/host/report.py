# SPDX-License-Identifier: Apache-2.0

"""A diagnosis of a host as text for people, and as JSON for programs."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host.diagnosis import Diagnosis, Models
from sev_driver.doctor.text import FORMAT, Origin, Style, finding_json, finding_lines
from sev_driver.model import MemoryEncryptionModel

_PLAIN = Style()
_WRONG = (Verdict.FAIL, Verdict.WARN)
_TITLES = {
    "processor": "Processor",
    "bios": "BIOS setup",
    "kernel": "Kernel",
    "libvirt": "libvirt and QEMU",
    "firmware": "Guest firmware",
    "nova": "Nova",
    "slots": "Slots",
    "memory": "Memory",
    "network": "Network",
}


def manual(finding: Finding) -> str:
    """Return the place of a check in the manual."""
    return "admin/doctor.html#doctor-" + finding.check.id.replace(".", "-")


def as_json(diagnosis: Diagnosis, origin: Origin) -> dict[str, Any]:
    """Return what ``--json`` prints; ``schema.json`` is its schema.

    ``generation`` and ``generations`` are the former names of ``model`` and ``models``.
    They stay for one release.
    """
    models = {
        model.value: {
            "would_run": diagnosis.first_failure(model) is None,
            "cause": _id(diagnosis.first_failure(model)),
            "not_looked_at": _unseen(diagnosis, model),
        }
        for model in diagnosis.findings
    }
    return {
        "format": FORMAT,
        **origin.as_json(),
        "model": diagnosis.asked.value,
        "generation": diagnosis.asked.value,
        "would_run": not diagnosis.exit_status,
        "not_looked_at": _unseen(diagnosis, diagnosis.asked),
        "models": models,
        "generations": models,
        "findings": [
            {
                **finding_json(finding, manual(finding)),
                "category": finding.check.category,
                "title": finding.check.title,
                "models": [model.value for model in of],
                "generations": [model.value for model in of],
            }
            for finding, of in diagnosis.merged()
        ],
    }


def _id(finding: Finding | None) -> str | None:
    return None if finding is None else finding.check.id


def _unseen(diagnosis: Diagnosis, model: MemoryEncryptionModel) -> list[str]:
    return [finding.check.id for finding in diagnosis.not_looked_at(model)]


def as_text(diagnosis: Diagnosis, style: Style = _PLAIN, *, quiet: bool = False) -> str:
    """Return what is printed for people.

    :param quiet: only what is wrong, and what was not checked that decides whether
        a guest would run; nothing if there is neither.
    """
    lines: list[str] = []
    models = tuple(diagnosis.findings)
    for category, findings in _by_category(diagnosis, quiet):
        if not quiet:
            lines.append(_TITLES.get(category, category))
        for row in findings if style.verbose else _shortened(findings):
            lines += _row(row, len(diagnosis.findings), style)
    if quiet:
        lines += _summary(
            diagnosis, filter(diagnosis.not_looked_at, models), style.width
        )
    else:
        lines += ["", *_summary(diagnosis, models, style.width)]
    return "".join(each + "\n" for each in lines)


@dataclasses.dataclass(frozen=True)
class _Row:
    """A finding, the checks that it is of, and the models of each."""

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
    """Return one row for all of a check that passes, and for all skipped alike."""
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
    """Return each title once, with all its models."""
    found: dict[str, list[MemoryEncryptionModel]] = {}
    for title, models in checks:
        found.setdefault(title, []).extend(models)
    order = tuple(MemoryEncryptionModel)
    return tuple(
        (title, tuple(sorted(set(models), key=order.index)))
        for title, models in found.items()
    )


def _row(row: _Row, models_checked: int, style: Style) -> Iterator[str]:
    """Yield a row's lines; models are named only if not all are concerned.

    :param models_checked: how many were.
    """
    titles = ", ".join(
        title
        if len(models) == models_checked
        else f"{title} [{', '.join(_short(model) for model in models)}]"
        for title, models in row.checks
    )
    yield from finding_lines(row.finding, titles, manual(row.finding), style)


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
                words = "whether a guest would run is not known"
            yield f"{model.title}: {words}; see {cause.check.title}."
        elif not unseen:
            yield f"{model.title}: a guest would run."
        else:
            yield from textwrap.wrap(
                f"{model.title}: a guest would run, as far as could be checked; not "
                f"checked: {unseen}.",
                max(width, 40),
                subsequent_indent="  ",
                break_on_hyphens=False,
            )
