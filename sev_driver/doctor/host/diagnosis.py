# SPDX-License-Identifier: Apache-2.0

"""Runs all checks on the evidence, for each model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from sev_driver.doctor.findings import Finding, Verdict, exit_status
from sev_driver.doctor.host import tree
from sev_driver.doctor.host.checks import (
    bios,
    firmware,
    kernel,
    launch_digest,
    libvirt,
    memory,
    network,
    nova,
    processor,
    slots,
)
from sev_driver.doctor.host.checks.libvirt import is_out_of_reach
from sev_driver.doctor.host.evidence import Evidence
from sev_driver.model import MemoryEncryptionModel

#: Checks of what the driver's own verdict does not cover: if one of them was skipped,
#: it is not certain that a guest would run.
DECISIVE = frozenset(
    {
        "libvirt.dev-kvm",
        "libvirt.dev-sev",
        "libvirt.confinement",
        "firmware.descriptor",
        "firmware.sev-metadata",
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
    """The findings of all checks, for each model.

    ``asked`` is the one by which the exit status goes; ``order`` has the ids of all
    checks.
    """

    asked: MemoryEncryptionModel
    order: tuple[str, ...]
    findings: Mapping[MemoryEncryptionModel, tuple[Finding, ...]]

    @property
    def exit_status(self) -> int:
        """0 if a guest of ``asked`` would run, as far as was checked, else 1."""
        return exit_status(self.findings[self.asked])

    def first_failure(self, model: MemoryEncryptionModel) -> Finding | None:
        """Return the cause, as far as one is found."""
        for finding in self.findings[model]:
            if finding.verdict is Verdict.FAIL:
                return finding
        return None

    def undecided(self, model: MemoryEncryptionModel) -> bool:
        """Return whether nothing is amiss but that this process cannot ask libvirt.

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
        """Return each finding once, with its models.

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
    """Run all checks for each model.

    :param models: the models to check; by default, only ``asked``.
    """
    nodes = tuple(nodes)
    return Diagnosis(
        asked,
        tuple(node.check.id for node in nodes),
        {model: tree.run_checks(nodes, evidence, model) for model in (*models, asked)},
    )


#: All checks of a host, in the order of cause: what one builds on stands before it.
NODES = tree.checks_of(
    processor,
    bios,
    kernel,
    libvirt,
    firmware,
    nova,
    launch_digest,
    slots,
    memory,
    network,
)
