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
"""The checks as a tree: what a check builds on is looked at before it.

A failed check skips those below it, with the reason. No check contradicts the
driver: one that says which obstacles it ``explains`` fails only where the driver has
met one of them, and warns elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sev_driver.capabilities import Obstacle
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check, Finding, Verdict
from sev_driver.model import MemoryEncryptionModel


class Judgement(NamedTuple):
    """What is so, and what to do about it; see :class:`Finding`."""

    verdict: Verdict
    seen: str
    remedy: str = ""


def passed(seen: str) -> Judgement:
    return Judgement(Verdict.PASS, seen)


def warned(seen: str, remedy: str) -> Judgement:
    return Judgement(Verdict.WARN, seen, remedy)


def failed(seen: str, remedy: str) -> Judgement:
    return Judgement(Verdict.FAIL, seen, remedy)


def skipped(why: str) -> Judgement:
    return Judgement(Verdict.SKIP, why)


#: How what is said of a check begins that was skipped for a failed one above it.
CUT = "skipped: "

Judge = Callable[[Evidence, MemoryEncryptionModel], Judgement]

_ALL = frozenset(MemoryEncryptionModel)


@dataclasses.dataclass(frozen=True)
class Node:
    """A check, and how it is judged.

    ``parent`` is the id of the check that it builds on. ``models`` are the
    generations that it concerns. ``explains`` are the driver's obstacles of which
    it names the cause; None for a check of what the driver's verdict is not about. A
    check that does not concern a generation passes on what its parent came to.
    """

    check: Check
    judge: Judge
    parent: str = ""
    models: frozenset[MemoryEncryptionModel] = _ALL
    explains: frozenset[Obstacle] | None = None


def look(
    nodes: Iterable[Node], evidence: Evidence, model: MemoryEncryptionModel
) -> tuple[Finding, ...]:
    """Return a finding of each check that concerns a guest of ``model``.

    :param nodes: in the order of cause: no check before its parent.
    """
    findings: list[Finding] = []
    #: By id, the title of the failed check for which it, and all below, is skipped.
    cut: dict[str, str] = {}
    for node in nodes:
        if node.parent in cut:
            cut[node.check.id] = cut[node.parent]
        if model not in node.models:
            continue
        if node.parent in cut:
            judgement = skipped(f"{CUT}{cut[node.parent]} failed")
        else:
            judgement = _judged(node, evidence, model)
            if judgement.verdict is Verdict.FAIL:
                cut[node.check.id] = node.check.title
        findings.append(Finding(node.check, *judgement))
    return tuple(findings)


def _judged(node: Node, evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    judgement = node.judge(evidence, model)
    if judgement.verdict is not Verdict.FAIL or node.explains is None:
        return judgement
    obstacle = evidence.capabilities[model].obstacle
    if obstacle in node.explains:
        return judgement
    return judgement._replace(verdict=Verdict.WARN)


def by_the_driver(*obstacles: Obstacle, good: Judge) -> Judge:
    """Return a judge that fails with the driver's words where it has met one of these.

    :param good: what is said where it has not.
    """

    def judge(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
        capability = evidence.capabilities[model]
        if capability.obstacle in obstacles:
            return failed(capability.reason, capability.remedy)
        return good(evidence, model)

    return judge
