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
"""From evidence to what is said of it: the checks, for each generation asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from sev_driver.doctor import tree
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Finding, Verdict, exit_status
from sev_driver.doctor.libvirt_checks import is_out_of_reach
from sev_driver.model import MemoryEncryptionModel

#: Checks that tell of what the driver's own verdict on a host does not: where one of
#: them was skipped, nobody can say for sure that a guest would run.
DECISIVE = frozenset(
    {
        "libvirt.dev-kvm",
        "libvirt.dev-sev",
        "libvirt.confinement",
        "firmware.descriptor",
        "nova.compute",
        "nova.import",
        "nova.conf",
        "slots.total",
        "slots.free",
        "memory.room",
    }
)

Models = tuple[MemoryEncryptionModel, ...]


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What each check came to, for each generation in the order asked for.

    ``asked`` is the one by which the exit status goes; ``order`` has the ids of all
    checks.
    """

    asked: MemoryEncryptionModel
    order: tuple[str, ...]
    findings: Mapping[MemoryEncryptionModel, tuple[Finding, ...]]

    @property
    def exit_status(self) -> int:
        """0 where a guest of ``asked`` would run, as far as was looked at, else 1."""
        return exit_status(self.findings[self.asked])

    def first_failure(self, model: MemoryEncryptionModel) -> Finding | None:
        """Return the cause, as far as one is found."""
        for finding in self.findings[model]:
            if finding.verdict is Verdict.FAIL:
                return finding
        return None

    def undecided(self, model: MemoryEncryptionModel) -> bool:
        """Whether nothing is amiss but that this process cannot ask libvirt.

        nova-compute may be allowed what this user is not.
        """
        failures = [f for f in self.findings[model] if f.verdict is Verdict.FAIL]
        if [f.check.id for f in failures] != ["libvirt.reach"]:
            return False
        return is_out_of_reach(failures[0].seen)

    def not_looked_at(self, model: MemoryEncryptionModel) -> tuple[Finding, ...]:
        """Return what could yet keep a guest from running; none if something does."""
        if self.first_failure(model) is not None:
            return ()
        return tuple(
            finding
            for finding in self.findings[model]
            if finding.verdict is Verdict.SKIP and finding.check.id in DECISIVE
        )

    def merged(self) -> list[tuple[Finding, Models]]:
        """Return each finding once, with the generations that it is of.

        Those of one check stand together, in the order of the checks.
        """
        merged: dict[Finding, list[MemoryEncryptionModel]] = {}
        for model, findings in self.findings.items():
            for finding in findings:
                merged.setdefault(finding, []).append(model)
        return sorted(
            ((finding, tuple(models)) for finding, models in merged.items()),
            key=lambda item: self.order.index(item[0].check.id),
        )


def diagnose(
    nodes: Iterable[tree.Node],
    evidence: Evidence,
    asked: MemoryEncryptionModel,
    models: Iterable[MemoryEncryptionModel] = (),
) -> Diagnosis:
    """:param models: those to look at; ``asked`` alone by default."""
    nodes = tuple(nodes)
    return Diagnosis(
        asked,
        tuple(node.check.id for node in nodes),
        {model: tree.look(nodes, evidence, model) for model in (*models, asked)},
    )
