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

import dataclasses

import pytest
from host_facts import EVERYTHING
from nova_evidence import evidence

from sev_driver.doctor import libvirt_checks
from sev_driver.doctor.evidence import Evidence, Fact, Opening
from sev_driver.doctor.finding import Finding, Verdict
from sev_driver.doctor.tree import look
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.model import MemoryEncryptionModel
from sev_driver.source import Status

PASS, WARN, FAIL, SKIP = Verdict

#: QEMU was asked, and says no.
NO_SEV = dataclasses.replace(EVERYTHING, domain=DomainCapabilities(False))
DEVICE = Fact(Status("c", 0o600, "root", "root"))


def dev_sev(host: Evidence) -> Finding:
    findings = look(libvirt_checks.NODES, host, MemoryEncryptionModel.AMD_SEV)
    return next(each for each in findings if each.check.id == "libvirt.dev-sev")


@pytest.mark.parametrize(
    ("error", "nodev", "by", "verdict", "advice"),
    [
        ("", False, "root", PASS, ""),
        ("Permission denied", True, "root", FAIL, "mount -o remount,bind,dev /dev/sev"),
        ("Operation not permitted", False, "root", FAIL, "DeviceAllow=/dev/sev rw"),
        # Nobody but root may open it: that says nothing of QEMU.
        ("Permission denied", False, "nova", PASS, ""),
    ],
)
def test_a_device_that_not_even_root_can_open(
    error: str, nodev: bool, by: str, verdict: Verdict, advice: str
) -> None:
    host = evidence(
        facts=NO_SEV,
        libvirt=Fact("qemu:///system"),
        kvm_device=Fact(Status("c", 0o660, "root", "kvm")),
        sev_device=DEVICE,
        sev_opening=Fact(Opening(error, nodev)),
        read_as=by,
    )
    finding = dev_sev(host)
    assert (finding.verdict, advice in finding.remedy) == (verdict, True), finding
    if verdict is FAIL:
        assert error in finding.seen
        assert "rm -r /var/cache/libvirt/qemu/capabilities" in finding.remedy
