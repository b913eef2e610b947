# SPDX-License-Identifier: Apache-2.0

"""A finding, its verdict, and the check that it is of."""

from __future__ import annotations

import dataclasses
import enum


class Verdict(enum.Enum):
    """The result of a check; the values are in the JSON."""

    PASS = "pass"  # nosec B105  # no password
    #: A guest would run, but something is wrong.
    WARN = "warn"
    FAIL = "fail"
    #: It was not checked, or could not be; never the same as PASS.
    SKIP = "skip"


@dataclasses.dataclass(frozen=True)
class Check:
    """What is checked.

    ``id``, such as ``kernel.parameter``, is stable: scripts, the schema and the manual
    use it. Its first part is the category. ``reads`` is where the facts come from: a
    file, a command, an option.
    """

    id: str
    title: str
    reads: str

    @property
    def category(self) -> str:
        return self.id.partition(".")[0]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a check found: ``seen`` is the fact, ``remedy`` what to do about it.

    A FAIL and a WARN have a remedy. The ``seen`` of a SKIP is the reason.
    """

    check: Check
    verdict: Verdict
    seen: str
    remedy: str = ""


def exit_status(findings: tuple[Finding, ...]) -> int:
    """Return 1 if a check failed, else 0."""
    return int(any(finding.verdict is Verdict.FAIL for finding in findings))


def upgrade_status(findings: tuple[Finding, ...]) -> int:
    """Return the exit status that ``nova-status upgrade check`` has for its findings.

    0 if everything is fine, 1 if there is a warning, 2 if a check failed. A list that
    these credentials may not read counts as a warning.
    """
    if exit_status(findings):
        return 2
    return int(
        any(
            finding.verdict is Verdict.WARN
            or (finding.verdict is Verdict.SKIP and finding.check.id.endswith(".read"))
            for finding in findings
        )
    )
