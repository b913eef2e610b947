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

"""What the doctor says of a cloud and of a dry run, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from sev_driver.doctor import cloud_hosts, flavors, images, slot_table
from sev_driver.doctor.cloud_facts import Cloud, Slots, Unread
from sev_driver.doctor.dry_run import DryRun
from sev_driver.doctor.finding import Finding, Verdict, exit_status
from sev_driver.doctor.render import line, wrapped
from sev_driver.requirements import Requirement

#: Of the JSON; a number more where something is taken away or changes its meaning.
FORMAT = 1

#: Of a line of text, where nothing else is known.
WIDTH = 100

_WRONG = (Verdict.FAIL, Verdict.WARN)


def judge(cloud: Cloud) -> tuple[Finding, ...]:
    """Return all that is to be said of a cloud."""
    return (*flavors.check(cloud), *images.check(cloud), *cloud_hosts.check(cloud))


def _table(cloud: Cloud) -> list[slot_table.Row]:
    if isinstance(cloud.slots, Unread):
        return []
    return slot_table.rows(cloud.slots, cloud.computes)


def cloud_text(
    cloud: Cloud,
    findings: tuple[Finding, ...],
    width: int = WIDTH,
    colour: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> str:
    """Return what ``sev-doctor cloud`` prints; ``quiet``: only what is wrong."""
    lines: list[str] = []
    titles = {"flavor": "Flavors", "image": "Images", "host": "Hosts"}
    for category, title in titles.items():
        own = [f for f in findings if _section(f) == category]
        shown = [f for f in own if f.verdict in _WRONG] if quiet else own
        if shown or not quiet:
            lines += [title, *_lines(shown, width, colour, verbose)]
            if not shown:
                lines.append(f"  none asks for encryption among {_count(cloud, title)}")
    table = _table(cloud)
    if table and not quiet:
        lines += ["", "Slots", *(f"  {line}" for line in slot_table.as_text(table))]
    if not quiet:
        lines += ["", _summary(findings)]
    return "".join(f"{line}\n" for line in lines)


def _section(finding: Finding) -> str:
    return {"service": "host"}.get(finding.check.category, finding.check.category)


def _count(cloud: Cloud, title: str) -> str:
    part = cloud.flavors if title == "Flavors" else cloud.images
    return f"{0 if isinstance(part, Unread) else len(part)} {title.lower()}"


def _lines(
    findings: Iterable[Finding], width: int, colour: bool, verbose: bool
) -> Iterator[str]:
    for finding in findings:
        title = finding.check.title
        if finding.verdict is Verdict.PASS:
            title += f": {finding.seen}"
        yield line(finding.verdict, title, colour)
        if finding.verdict is not Verdict.PASS:
            yield from wrapped(finding.seen, width)
        if finding.remedy:
            yield from wrapped(finding.remedy, width, "→ ")
        if verbose:
            yield from wrapped(f"Reads {finding.check.reads}.", width)
            yield from wrapped(f"See {_manual(finding)}", width)


def _manual(finding: Finding) -> str:
    """Return where the manual tells of a check; one of the driver's is a message."""
    name = finding.check.id.partition(".")[2]
    if name in {requirement.value for requirement in Requirement}:
        return f"admin/messages.html#message-{name}"
    return "admin/doctor-cloud.html#doctor-" + finding.check.id.replace(".", "-")


def _summary(findings: tuple[Finding, ...]) -> str:
    counts = [
        f"{len(of)} {word}"
        for verdict, word in (
            (Verdict.FAIL, "failed"),
            (Verdict.WARN, "to be looked at"),
            (Verdict.SKIP, "skipped"),
        )
        if (of := [f for f in findings if f.verdict is verdict])
    ]
    return f"{len(findings)} checks: {', '.join(counts) or 'all is well'}."


def cloud_json(cloud: Cloud, findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Return what ``--json`` prints; ``cloud.schema.json`` is its schema."""
    table = _table(cloud)
    return {
        "format": FORMAT,
        "nova_release": cloud.nova,
        "healthy": not exit_status(findings),
        "findings": [_finding(finding) for finding in findings],
        "slots": None
        if not isinstance(cloud.slots, Slots)
        else {
            "hosts": [{"host": row.host, **_numbers(row)} for row in table],
            "all": [_numbers(row) for row in slot_table.sums(table)],
        },
    }


def _numbers(row: slot_table.Row) -> dict[str, Any]:
    return {
        "generation": row.model.value,
        "total": row.total,
        "reserved": row.reserved,
        "used": row.used,
        "free": row.free,
        "usable": row.usable,
        "unlimited": row.unlimited,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.check.id,
        "subject": finding.check.title,
        "reads": finding.check.reads,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "remedy": finding.remedy or None,
        "manual": _manual(finding),
    }


def plan_text(
    plan: DryRun, width: int = WIDTH, colour: bool = False, verbose: bool = False
) -> str:
    """Return what ``sev-doctor plan`` prints."""
    title = f"Flavor {plan.flavor.name} with {plan.image.title}, on Nova {plan.nova}"
    lines = [title, *_lines(plan.findings, width, colour, verbose)]
    if plan.places:
        lines += ["", "Hosts"]
        column = max(len(place.host) for place in plan.places)
        lines += [
            f"  {'✔' if place.takes else '✘'} {place.host.ljust(column)}  {place.why}"
            for place in plan.places
        ]
    # Where the answer is no, a page of XML is not what is looked for.
    if plan.sketch is not None and (verbose or not plan.exit_status):
        lines += [
            "",
            "The guest's domain. What sev_driver puts in is marked by +, what it takes",
            "out by -, with the policies by default. All else is a sketch of what Nova",
            "makes, which has more devices, and paths and names of its own.",
            *(f"  {line}" for line in plan.sketch.difference()),
        ]
    lines += ["", *textwrap.wrap(_outcome(plan), width, break_on_hyphens=False)]
    return "".join(f"{line}\n" for line in lines)


def _outcome(plan: DryRun) -> str:
    if plan.exit_status:
        if plan.request is None:
            return "It would not boot encrypted."
        return "It would not boot."
    taking = sum(place.takes for place in plan.places)
    beside = "quota, aggregates, affinity and pinned processors were not looked at"
    if taking:
        return f"It would boot; {beside}."
    return f"Nothing in flavor and image keeps it from booting; the hosts and {beside}."


def plan_json(plan: DryRun) -> dict[str, Any]:
    """Return what ``--json`` prints; ``plan.schema.json`` is its schema."""
    request = plan.request
    return {
        "format": FORMAT,
        "nova_release": plan.nova,
        "flavor": plan.flavor.name,
        "image": plan.image.title,
        "would_boot": not plan.exit_status,
        "generation": None if request is None else request.model.value,
        "requesters": [] if request is None else list(request.requesters),
        "findings": [_finding(finding) for finding in plan.findings],
        "hosts": [
            {"host": place.host, "takes_it": place.takes, "why": place.why}
            for place in plan.places
        ],
        "domain": None
        if plan.sketch is None
        else {"sketch": plan.sketch.novas, "with_sev_driver": plan.sketch.xml},
    }
