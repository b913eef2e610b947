# SPDX-License-Identifier: Apache-2.0
"""firmware_checks: what libvirt would take for a guest's firmware."""

import dataclasses

import pytest
from host_facts import EVERYTHING, OVMF, SEV, SEV_ES, SEV_SNP, parameters
from nova_evidence import evidence

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host.archive import NotInArchive
from sev_driver.doctor.host.checks import firmware
from sev_driver.doctor.host.evidence import (
    Descriptor,
    Evidence,
    Fact,
    FirmwareContents,
)
from sev_driver.doctor.host.readers import fact
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.files import Status
from sev_driver.model import MemoryEncryptionModel

PATH = "/usr/share/qemu/firmware/60-ovmf-amdsev.json"
THERE = Fact(Status("-", 0o644, "root", "root"))


@pytest.mark.parametrize(
    ("file", "verdict"),
    [
        (THERE, Verdict.PASS),
        (Fact[Status](), Verdict.FAIL),
        # Unreadable is not absent.
        (Fact[Status](unknown="denied"), Verdict.PASS),
    ],
)
def test_a_firmware_that_is_not_there(file: Fact[Status], verdict: Verdict) -> None:
    descriptors = (
        Descriptor(PATH, OVMF, file=file),
        Descriptor("/usr/share/qemu/firmware/70-more.json", OVMF, file=THERE),
    )
    host = evidence(descriptors=descriptors)
    findings = run_checks(checks_of(firmware), host, SEV)
    (found,) = (f for f in findings if f.check.id == "firmware.descriptor")
    assert found.verdict is verdict
    if verdict is Verdict.FAIL:
        assert f"install the package that has {OVMF.filename}" in found.remedy
        assert "touch /etc/qemu/firmware/60-ovmf-amdsev.json" in found.remedy


SHA256 = "0123456789abcdef" * 4
ALL = frozenset(MemoryEncryptionModel)


def not_in_archive() -> FirmwareContents:
    raise NotInArchive("asked/guest-firmware/OVMF.fd is not in the archive")


def with_contents(contents: Fact[FirmwareContents], **changes: object) -> Evidence:
    descriptors = (Descriptor(PATH, OVMF, file=THERE, contents=contents),)
    return evidence(descriptors=descriptors, **changes)  # type: ignore[arg-type]


def found(host: Evidence, check: str, model: MemoryEncryptionModel) -> Finding:
    findings = run_checks(checks_of(firmware), host, model)
    return next(each for each in findings if each.check.id == f"firmware.{check}")


@pytest.mark.parametrize(
    ("contents", "verdict", "said"),
    [
        (
            Fact(FirmwareContents(SHA256, True, ALL)),
            Verdict.PASS,
            "its trait in Placement is CUSTOM_SEV_FIRMWARE_0123456789AB",
        ),
        (
            Fact(FirmwareContents(SHA256, False, ALL)),
            Verdict.FAIL,
            f"{OVMF.filename} does not say where",
        ),
        # Of an older sev-doctor, or not OVMF's form: unknown, never "no".
        (fact(not_in_archive), Verdict.SKIP, "is not in the archive"),
        (Fact(unknown="denied"), Verdict.SKIP, f"{OVMF.filename}: denied"),
    ],
)
def test_sev_metadata(
    contents: Fact[FirmwareContents], verdict: Verdict, said: str
) -> None:
    finding = found(with_contents(contents), "sev-metadata", SEV_SNP)
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding
    assert bool(finding.remedy) is (verdict is Verdict.FAIL)


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_kernel_hashes(model: MemoryEncryptionModel) -> None:
    for measures, verdict in (
        (frozenset({model}), Verdict.PASS),
        (ALL - {model}, Verdict.WARN),
    ):
        contents = Fact(FirmwareContents(SHA256, True, measures))
        finding = found(with_contents(contents), "kernel-hashes", model)
        assert finding.verdict is verdict
        assert OVMF.filename in finding.seen
    unread = found(with_contents(fact(not_in_archive)), "kernel-hashes", model)
    assert (unread.verdict, unread.seen[-14:]) == (Verdict.SKIP, "in the archive")


def test_kernel_hashes_of_a_model_that_does_not_run_are_no_concern() -> None:
    off = dataclasses.replace(EVERYTHING, parameters=parameters(sev_es="N"))
    contents = Fact(FirmwareContents(SHA256, True, frozenset()))
    finding = found(with_contents(contents, facts=off), "kernel-hashes", SEV_ES)
    assert finding.verdict is Verdict.SKIP
    assert finding.seen == "guests of this model do not run here"


def test_firmware_of_descriptors_that_only_libvirt_sees_is_unknown() -> None:
    domain = DomainCapabilities(
        True, 410, 99, frozenset({"sev-snp"}), frozenset({"/usr/share/AAVMF/other"})
    )
    facts = dataclasses.replace(EVERYTHING, domain=domain)
    contents = Fact(FirmwareContents(SHA256, False, frozenset()))
    host = with_contents(contents, facts=facts)
    for check in ("sev-metadata", "kernel-hashes"):
        finding = found(host, check, SEV_SNP)
        assert finding.verdict is Verdict.SKIP
        assert finding.seen == "which guest firmware libvirt selects is not known"
