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
"""firmware_checks: what libvirt would take for a guest's firmware."""

import pytest
from host_facts import OVMF, SEV
from nova_evidence import evidence

from sev_driver.doctor import firmware_checks
from sev_driver.doctor.evidence import Descriptor, Fact
from sev_driver.doctor.finding import Verdict
from sev_driver.doctor.tree import look
from sev_driver.source import Status

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
    *_, found = look(firmware_checks.NODES, host, SEV)
    assert (found.check.id, found.verdict) == ("firmware.descriptor", verdict)
    if verdict is Verdict.FAIL:
        assert f"install the package that has {OVMF.filename}" in found.remedy
        assert "touch /etc/qemu/firmware/60-ovmf-amdsev.json" in found.remedy
