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

"""One line of the doctor's, and the check that it comes from."""

from __future__ import annotations

import dataclasses
import enum


class Verdict(enum.Enum):
    """What a check came to; the values are in the JSON."""

    PASS = "pass"  # nosec B105  # no password
    #: A guest would run, and something is not as it should be.
    WARN = "warn"
    FAIL = "fail"
    #: It was not looked at, or could not be; never the same as PASS.
    SKIP = "skip"


@dataclasses.dataclass(frozen=True)
class Check:
    """What is looked at.

    ``id`` is stable: scripts, the schema and the manual's sections go by it, such as
    ``kernel.sev-parameter``, whose first part is the category. ``reads`` says where
    the answer comes from: a file, a command, an option.
    """

    id: str
    title: str
    reads: str

    @property
    def category(self) -> str:
        return self.id.partition(".")[0]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found: ``seen`` is what is so, ``remedy`` what to do about it.

    A FAIL and a WARN have a remedy; a SKIP says in ``seen`` why.
    """

    check: Check
    verdict: Verdict
    seen: str
    remedy: str = ""


def exit_status(findings: tuple[Finding, ...]) -> int:
    """Return 1 where a check failed, else 0."""
    return int(any(finding.verdict is Verdict.FAIL for finding in findings))
