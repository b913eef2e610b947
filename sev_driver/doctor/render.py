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

from collections.abc import Iterator
from typing import Any

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
    colour: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> str:
    """Return what is printed.

    :param colour: whether the reader's terminal shows colours.
    :param verbose: also what is read, and where the manual tells of it.
    :param quiet: only what is wrong; nothing where nothing is.
    """
    lines = []
    category = ""
    for finding, models in diagnosis.merged():
        if quiet and finding.verdict not in (Verdict.FAIL, Verdict.WARN):
            continue
        if not quiet and finding.check.category != category:
            category = finding.check.category
            lines.append(_TITLES.get(category, category))
        of = models if len(models) < len(diagnosis.findings) else ()
        lines += _finding(finding, of, colour, verbose)
    if not quiet:
        lines += ["", *_summary(diagnosis)]
    return "".join(line + "\n" for line in lines)


def _finding(
    finding: Finding, models: Models, colour: bool, verbose: bool
) -> Iterator[str]:
    symbol = f"{_SYMBOLS[finding.verdict]} {finding.verdict.value.upper()}"
    if colour:
        symbol = f"\033[{_COLOURS[finding.verdict]}m{symbol}\033[0m"
    of = f" [{', '.join(_short(model) for model in models)}]" if models else ""
    yield f"  {symbol} {finding.check.title}{of}: {finding.seen}"
    if finding.remedy:
        yield f"         → {finding.remedy}"
    if verbose:
        yield f"         reads {finding.check.reads}; see {manual(finding)}"


def _short(model: MemoryEncryptionModel) -> str:
    return model.title.removeprefix("AMD ")


def _summary(diagnosis: Diagnosis) -> Iterator[str]:
    for model in diagnosis.findings:
        cause = diagnosis.first_failure(model)
        if cause is None:
            yield f"{model.title}: a guest would run."
        else:
            yield f"{model.title}: no guest would run ({cause.check.title}: failed)."
