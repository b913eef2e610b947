# SPDX-License-Identifier: Apache-2.0
"""The hosts of public reports: the verdict, its first cause, and the driver's log."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import pytest
from public_reports import FOLDER, REPORTS, archive, load

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host.archive import Archive
from sev_driver.doctor.host.diagnosis import NODES, Diagnosis, diagnose
from sev_driver.doctor.host.gather import RecordedLibvirt, gather
from sev_driver.doctor.host.libvirt import Nobody
from sev_driver.host import reader
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.host.detection import detect
from sev_driver.host.memory import HostMemory
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability import host_report

MODELS = tuple(MemoryEncryptionModel)
#: The categories that the driver's own verdict is about.
HOST = ("processor", "bios", "kernel", "libvirt", "firmware")


@pytest.fixture(autouse=True)
def unknown_system() -> None:
    """Leave the names of the files as they are; none of this machine is read."""


def diagnosis_of(saved: Archive, guest_mib: int = 2048) -> Diagnosis:
    evidence = dataclasses.replace(gather(saved, Nobody()), guest_mib=guest_mib)
    return diagnose(NODES, evidence, MODELS[0], MODELS)


def driver_of(saved: Archive) -> HostCapabilities:
    """Return what the driver concludes there: it reads no more than it needs."""
    evidence = gather(saved, Nobody())
    facts = reader.read_facts(
        saved,
        RecordedLibvirt(saved, Nobody()),
        evidence.facts.virt_type,
        evidence.facts.arch,
        evidence.facts.vendor,
        needed_only=True,
    )
    return detect(
        dataclasses.replace(facts, es_beside_snp=evidence.facts.es_beside_snp)
    )


def log_of(host: HostCapabilities) -> str:
    limits = dict.fromkeys(MODELS)
    lines = host_report.lines(host, limits, HostMemory(1 << 20, 512, None))
    return "\n".join(text for _, text in lines)


def wrong(findings: Sequence[Finding], verdict: Verdict) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is verdict]


def expectations() -> list[Any]:
    return [
        pytest.param(path, expected, id=f"{path.stem}-{expected['model']}")
        for path in REPORTS
        for expected in load(path)["expects"]
    ]


@pytest.mark.parametrize(("path", "expected"), expectations())
def test_the_verdict_and_its_first_cause(
    path: pathlib.Path, expected: dict[str, Any]
) -> None:
    report = load(path)
    found = diagnosis_of(archive(report), report.get("guest_mib", 2048))
    findings = found.findings[MemoryEncryptionModel(expected["model"])]
    failures, warnings = wrong(findings, Verdict.FAIL), wrong(findings, Verdict.WARN)
    if expected["verdict"] == "pass":
        assert not failures and not warnings
        return
    if expected["verdict"] == "warn":
        assert not failures
    first = (failures or warnings)[0]
    assert first.check.id == expected["check"], (failures, warnings)
    for words in expected["words"]:
        assert words in f"{first.seen} {first.remedy}"
    if "failures" in expected:
        assert len(failures) + len(warnings) == expected["failures"]


@pytest.mark.parametrize("path", [FOLDER / "base.json", *REPORTS], ids=lambda p: p.stem)
def test_the_driver_names_the_first_cause_of_the_doctor(path: pathlib.Path) -> None:
    saved = archive(load(path))
    found, host = diagnosis_of(saved), driver_of(saved)
    log = log_of(host)
    for model in MODELS:
        failures = wrong(found.findings[model], Verdict.FAIL)
        causes = [f for f in failures if f.check.category in HOST]
        if host[model].supported:
            assert not causes
        elif causes:
            # libvirt's own checks look at more than the driver does.
            if causes[0].check.category != "libvirt":
                assert causes[0].seen == host[model].reason
            assert host[model].reason in log
            assert host[model].remedy in log


@pytest.mark.parametrize("model", MODELS)
def test_a_healthy_host_passes(model: MemoryEncryptionModel) -> None:
    saved = archive(load(FOLDER / "base.json"))
    host = driver_of(saved)
    if model is not MemoryEncryptionModel.AMD_SEV_ES:
        found = diagnosis_of(saved).findings[model]
        assert not wrong(found, Verdict.FAIL) and not wrong(found, Verdict.WARN)
        assert host[model].supported


def test_each_report_says_where_it_is_from() -> None:
    for path in REPORTS:
        report = load(path)
        assert report["about"], path.name
        assert report["source"].startswith("https://"), path.name
