# SPDX-License-Identifier: Apache-2.0

"""The checks as a tree: a check runs after its parent.

If a check fails, those below it are skipped, with the reason. No check contradicts the
driver: one that ``explains`` obstacles fails only if the driver has met one of them,
and otherwise warns.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import NamedTuple

from sev_driver.doctor.findings import Check, Finding, Verdict
from sev_driver.doctor.host.evidence import Evidence
from sev_driver.host.capabilities import ObstacleKind
from sev_driver.model import MemoryEncryptionModel


class Outcome(NamedTuple):
    """The result of a check function; see :class:`Finding`."""

    verdict: Verdict
    seen: str
    remedy: str = ""


def passed(seen: str) -> Outcome:
    return Outcome(Verdict.PASS, seen)


def warned(seen: str, remedy: str) -> Outcome:
    return Outcome(Verdict.WARN, seen, remedy)


def failed(seen: str, remedy: str) -> Outcome:
    return Outcome(Verdict.FAIL, seen, remedy)


def skipped(why: str) -> Outcome:
    return Outcome(Verdict.SKIP, why)


#: The beginning of the reason of a check that was skipped for a failed one above it.
CUT = "skipped: "

CheckFunction = Callable[[Evidence, MemoryEncryptionModel], Outcome]

_ALL = frozenset(MemoryEncryptionModel)


@dataclasses.dataclass(frozen=True)
class Node:
    """A check, its function, and its place in the tree.

    ``parent`` is the id of the check that it builds on. ``models`` are those that it
    concerns. ``explains`` are the driver's obstacles of which it finds the cause; None
    if the driver's verdict is about something else. A check that does not concern a
    model passes its parent's failure on to those below it.
    """

    check: Check
    function: CheckFunction
    parent: str = ""
    models: frozenset[MemoryEncryptionModel] = _ALL
    explains: frozenset[ObstacleKind] | None = None


#: The checks of each module, in the order in which they stand there.
_REGISTERED: dict[str, list[Node]] = {}


def check(
    id: str,
    title: str,
    reads: str,
    *,
    parent: str = "",
    models: frozenset[MemoryEncryptionModel] = _ALL,
    explains: frozenset[ObstacleKind] | None = None,
) -> Callable[[CheckFunction], CheckFunction]:
    """Make a function a check; see :class:`Node` and :class:`Check`."""

    def register(function: CheckFunction) -> CheckFunction:
        node = Node(Check(id, title, reads), function, parent, models, explains)
        _REGISTERED.setdefault(function.__module__, []).append(node)
        return function

    return register


def checks_of(*modules: ModuleType) -> tuple[Node, ...]:
    """Return the checks of modules, in their order."""
    return tuple(node for module in modules for node in _REGISTERED[module.__name__])


def run_checks(
    nodes: Iterable[Node], evidence: Evidence, model: MemoryEncryptionModel
) -> tuple[Finding, ...]:
    """Run the checks that concern a guest of ``model``; return their findings.

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
            outcome = skipped(f"{CUT}{cut[node.parent]} failed")
        else:
            outcome = _outcome_of(node, evidence, model)
            if outcome.verdict is Verdict.FAIL:
                cut[node.check.id] = node.check.title
        findings.append(Finding(node.check, *outcome))
    return tuple(findings)


def _outcome_of(
    node: Node, evidence: Evidence, model: MemoryEncryptionModel
) -> Outcome:
    outcome = node.function(evidence, model)
    if outcome.verdict is not Verdict.FAIL or node.explains is None:
        return outcome
    obstacle = evidence.capabilities[model].obstacle
    if obstacle in node.explains:
        return outcome
    return outcome._replace(verdict=Verdict.WARN)


def by_the_driver(*obstacles: ObstacleKind) -> Callable[[CheckFunction], CheckFunction]:
    """Make a check fail with the driver's own reason if it has met one of these.

    Otherwise the decorated function decides.
    """

    def decorate(function: CheckFunction) -> CheckFunction:
        @functools.wraps(function)
        def decorated(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
            capability = evidence.capabilities[model]
            if capability.obstacle in obstacles:
                return failed(capability.reason, capability.remedy)
            return function(evidence, model)

        return decorated

    return decorate
