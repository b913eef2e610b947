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

"""What a finding about the cloud is of: a flavor, an image, a host."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sev_driver.doctor.cloud_facts import Cloud, Unread
from sev_driver.doctor.finding import Check, Finding, Verdict
from sev_driver.requirements import GuestRequest, Violation


@dataclasses.dataclass(frozen=True)
class Subject:
    """``kind`` is the category of its checks, ``reads`` where its facts come from."""

    kind: str
    name: str
    reads: str

    def finding(
        self, check: str, verdict: Verdict, seen: str, remedy: str = ""
    ) -> Finding:
        title = self.name if self.kind == "plan" else f"{self.kind} {self.name}"
        about = Check(f"{self.kind}.{check}", title, self.reads)
        return Finding(about, verdict, seen, remedy)

    def violated(self, found: Sequence[Violation], told: str = "") -> list[Finding]:
        """Return a FAIL for each violation; ``told`` says who asks for what."""
        but = f"{told}, but " if told else ""
        return [
            self.finding(v.requirement.value, Verdict.FAIL, but + v.found, v.remedy)
            for v in found
        ]

    def not_offered(
        self, request: GuestRequest, cloud: Cloud, told: str
    ) -> list[Finding]:
        """Return a FAIL where it is known that no host has the model."""
        slots = cloud.slots
        if isinstance(slots, Unread) or request.model in slots.offered():
            return []
        seen = f"{told}, and no host offers a slot of it"
        remedy = "run sev-doctor on the hosts that should offer it"
        return [self.finding("offered", Verdict.FAIL, seen, remedy)]

    def unread(self, why: Unread) -> Finding:
        """Return SKIP where the credentials do not suffice, FAIL where it failed."""
        about = Check(f"{self.kind}.read", self.name, self.reads)
        if why.refused:
            return Finding(about, Verdict.SKIP, why.reason)
        return Finding(about, Verdict.FAIL, why.reason, why.remedy)


def short(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are."""
    told = ", ".join(names[:most])
    return told if len(names) <= most else f"{told} and {len(names) - most} more"
