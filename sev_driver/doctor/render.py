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

import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from sev_driver.doctor import tree
from sev_driver.doctor.diagnosis import Diagnosis, Models
from sev_driver.doctor.finding import Finding, Verdict
from sev_driver.model import MemoryEncryptionModel

#: Of the JSON; a number more where something is taken away or changes its meaning.
FORMAT = 1

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
        "generations": {
            model.value: {
                "would_run": diagnosis.first_failure(model) is None,
                "cause": _id(diagnosis.first_failure(model)),
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
    :param quiet: only what is wrong; nothing where nothing is.
    """
    lines: list[str] = []
    for category, findings in _by_category(diagnosis, quiet):
        if not quiet:
            lines.append(_TITLES.get(category, category))
        cut = [each for each in findings if not verbose and _is_cut(each[0])]
        for finding, models in findings:
            if (finding, models) in cut:
                continue
            title = finding.check.title + _of(models, diagnosis)
            lines.append(line(finding.verdict, title, colour))
            if verbose or finding.verdict is not Verdict.PASS:
                lines += wrapped(finding.seen, width)
            if finding.remedy:
                lines += wrapped(finding.remedy, width, "→ ")
            if verbose:
                lines += wrapped(f"Reads {finding.check.reads}.", width)
                lines += wrapped(f"See {manual(finding)}", width)
        for why, titles in _reasons(cut, diagnosis).items():
            lines.append(line(Verdict.SKIP, why, colour))
            lines += wrapped(", ".join(titles), width)
    if not quiet:
        lines += ["", *_summary(diagnosis)]
    return "".join(line + "\n" for line in lines)


Told = list[tuple[Finding, Models]]


def _by_category(diagnosis: Diagnosis, quiet: bool) -> Iterator[tuple[str, Told]]:
    told = diagnosis.merged()
    if quiet:
        told = [each for each in told if each[0].verdict in _WRONG]
    for category, findings in itertools.groupby(told, lambda t: t[0].check.category):
        yield category, list(findings)


def _is_cut(finding: Finding) -> bool:
    """Whether it was skipped for what is above it."""
    return finding.verdict is Verdict.SKIP and finding.seen.startswith(tree.CUT)


def _reasons(cut: Told, diagnosis: Diagnosis) -> dict[str, list[str]]:
    """Return the titles of what was skipped, by the reason."""
    found: dict[str, list[str]] = {}
    for finding, models in cut:
        title = finding.check.title + _of(models, diagnosis)
        found.setdefault(finding.seen, []).append(title)
    return found


def _of(models: Models, diagnosis: Diagnosis) -> str:
    """Return for which generations, where not for all that were looked at."""
    if len(models) == len(diagnosis.findings):
        return ""
    return f" [{', '.join(_short(model) for model in models)}]"


def line(verdict: Verdict, text: str, colour: bool) -> str:
    """Return a finding's first line."""
    mark = f"{_SYMBOLS[verdict]} {verdict.value.upper()}"
    if colour:
        mark = f"\033[{_COLOURS[verdict]}m{mark}\033[0m"
    return f"  {mark}  {text}"


def wrapped(text: str, width: int, mark: str = "") -> list[str]:
    """Return the lines below it."""
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=" " * 10 + mark,
        subsequent_indent=" " * (10 + len(mark)),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _short(model: MemoryEncryptionModel) -> str:
    return model.title.removeprefix("AMD ")


def _summary(diagnosis: Diagnosis) -> Iterator[str]:
    for model in diagnosis.findings:
        cause = diagnosis.first_failure(model)
        if cause is None:
            yield f"{model.title}: a guest would run."
        else:
            yield f"{model.title}: no guest would run; see {cause.check.title}."
