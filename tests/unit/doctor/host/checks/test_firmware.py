# SPDX-License-Identifier: Apache-2.0
"""firmware_checks: what libvirt would take for a guest's firmware."""

import pytest
from host_facts import OVMF, SEV
from nova_evidence import evidence

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host.checks import firmware
from sev_driver.doctor.host.evidence import Descriptor, Fact
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.host.files import Status

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
    *_, found = run_checks(checks_of(firmware), host, SEV)
    assert (found.check.id, found.verdict) == ("firmware.descriptor", verdict)
    if verdict is Verdict.FAIL:
        assert f"install the package that has {OVMF.filename}" in found.remedy
        assert "touch /etc/qemu/firmware/60-ovmf-amdsev.json" in found.remedy
