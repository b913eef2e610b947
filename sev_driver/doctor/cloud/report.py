# SPDX-License-Identifier: Apache-2.0

"""What the doctor says of a cloud and of a dry run, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from sev_driver.doctor.cloud import (
    catalog,
    hosts,
    launch_digests,
    unreadable_models,
)
from sev_driver.doctor.cloud.facts import Cloud, CloudSlots, Unavailable
from sev_driver.doctor.cloud.plan import DryRun
from sev_driver.doctor.findings import Finding, Verdict, exit_status
from sev_driver.doctor.text import FORMAT, Origin, Style, finding_json, finding_lines
from sev_driver.exceptions import Requirement, printable

_PLAIN = Style(100)
_WRONG = (Verdict.FAIL, Verdict.WARN)


def check_cloud(cloud: Cloud) -> tuple[Finding, ...]:
    """Return all that is to be said of a cloud."""
    return (
        *catalog.check_flavors(cloud),
        *catalog.check_images(cloud),
        *unreadable_models.check_servers(cloud),
        *hosts.check(cloud),
        *launch_digests.check_hosts(cloud),
    )


def _table(cloud: Cloud) -> list[hosts.Row]:
    if isinstance(cloud.slots, Unavailable):
        return []
    return hosts.rows(cloud.slots, cloud.computes)


def cloud_text(
    cloud: Cloud,
    findings: tuple[Finding, ...],
    style: Style = _PLAIN,
    *,
    quiet: bool = False,
) -> str:
    """Return what ``sev-doctor cloud`` prints; ``quiet``: only what is wrong."""
    lines: list[str] = []
    titles = {
        "flavor": "Flavors",
        "image": "Images",
        "server": "Servers",
        "host": "Hosts",
    }
    for category, title in titles.items():
        own = [f for f in findings if _section(f) == category]
        shown = [f for f in own if f.verdict in _WRONG] if quiet else own
        # Nothing is said of servers where no problem found.
        if shown or not (quiet or category == "server"):
            lines += [title, *_lines(shown, style)]
            if not shown:
                lines.append(f"  none asks for encryption among {_count(cloud, title)}")
    table = _table(cloud)
    if table and not quiet:
        lines += ["", "Slots", *(f"  {line}" for line in hosts.as_text(table))]
    if not quiet:
        lines += ["", _summary(findings)]
    return "".join(f"{line}\n" for line in lines)


def _section(finding: Finding) -> str:
    return {"service": "host"}.get(finding.check.category, finding.check.category)


def _count(cloud: Cloud, title: str) -> str:
    part = cloud.flavors if title == "Flavors" else cloud.images
    return f"{0 if isinstance(part, Unavailable) else len(part)} {title.lower()}"


def _lines(findings: Iterable[Finding], style: Style) -> Iterator[str]:
    for finding in findings:
        title = finding.check.title
        if finding.verdict is Verdict.PASS and not style.verbose:
            title += f": {finding.seen}"
        yield from finding_lines(finding, title, _manual(finding), style)


def _manual(finding: Finding) -> str:
    """Return the place of a check in the manual; the driver's are messages."""
    name = finding.check.id.partition(".")[2]
    if name in {requirement.value for requirement in Requirement}:
        return f"admin/messages.html#message-{name}"
    return "admin/doctor-cloud.html#doctor-" + finding.check.id.replace(".", "-")


def _summary(findings: tuple[Finding, ...]) -> str:
    counts = [
        f"{len(of)} {word}"
        for verdict, word in (
            (Verdict.FAIL, "failed"),
            (Verdict.WARN, "with a warning"),
            (Verdict.SKIP, "skipped"),
        )
        if (of := [f for f in findings if f.verdict is verdict])
    ]
    return f"{len(findings)} checks: {', '.join(counts) or 'no problem found'}."


def cloud_json(
    cloud: Cloud, findings: tuple[Finding, ...], origin: Origin
) -> dict[str, Any]:
    """Return what ``--json`` prints; ``cloud.schema.json`` is its schema.

    ``generation`` is the former name of ``model``. It stays for one release.
    """
    table = _table(cloud)
    return {
        "format": FORMAT,
        **origin.as_json(),
        "nova_release": cloud.nova,
        "healthy": not exit_status(findings),
        "findings": [_finding(finding) for finding in findings],
        "slots": None
        if not isinstance(cloud.slots, CloudSlots)
        else {
            "hosts": [{"host": row.host, **_numbers(row)} for row in table],
            "all": [_numbers(row) for row in hosts.sums(table)],
        },
    }


def _numbers(row: hosts.Row) -> dict[str, Any]:
    return {
        "model": row.model.value,
        "generation": row.model.value,
        "total": row.total,
        "reserved": row.reserved,
        "used": row.used,
        "free": row.free,
        "usable": row.usable,
        "unlimited": row.unlimited,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    shown = finding_json(finding, _manual(finding))
    return {**shown, "subject": finding.check.title}


def plan_text(plan: DryRun, style: Style = _PLAIN) -> str:
    """Return what ``sev-doctor plan`` prints."""
    # Users name images: a terminal must not act on a name.
    named = printable(f"Flavor {plan.flavor.name} with {plan.image.title}")
    title = f"{named}, on Nova {plan.nova}"
    lines = [title, *_lines(plan.findings, style)]
    if plan.places:
        lines += ["", "Hosts"]
        column = max(len(place.host) for place in plan.places)
        lines += [
            f"  {'✔' if place.takes else '✘'} {place.host.ljust(column)}  {place.why}"
            for place in plan.places
        ]
    # Where the answer is no, a page of XML is not what is looked for.
    if plan.sketch is not None and (style.verbose or not plan.exit_status):
        lines += [
            "",
            "The guest's libvirt domain. sev_driver adds the lines with + and removes",
            "those with -, here with the default policies. The rest is a sketch: the",
            "domain that Nova creates has more devices, and other paths and names.",
            *(f"  {line}" for line in plan.sketch.difference()),
        ]
    lines += ["", *textwrap.wrap(_outcome(plan), style.width, break_on_hyphens=False)]
    return "".join(f"{line}\n" for line in lines)


def _outcome(plan: DryRun) -> str:
    if plan.exit_status:
        if plan.is_foreign:
            return "It was not checked, because it does not ask for AMD SEV."
        if plan.request is None:
            return "It would not boot encrypted."
        return "It would not boot."
    taking = sum(place.takes for place in plan.places)
    beside = (
        "quota, aggregates, affinity, huge pages, NUMA and pinned processors were not "
        "checked"
    )
    if taking:
        return f"It would boot; {beside}."
    return f"Nothing in flavor and image keeps it from booting; the hosts and {beside}."


def plan_json(plan: DryRun, origin: Origin) -> dict[str, Any]:
    """Return what ``--json`` prints; ``plan.schema.json`` is its schema."""
    request = plan.request
    return {
        "format": FORMAT,
        **origin.as_json(),
        "nova_release": plan.nova,
        "flavor": plan.flavor.name,
        "image": plan.image.title,
        "would_boot": not plan.exit_status,
        "model": None if request is None else request.model.value,
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
