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

import pytest
from nova_evidence import PATH, evidence

from sev_driver.doctor import nova_checks
from sev_driver.doctor.evidence import Fact
from sev_driver.doctor.finding import Verdict
from sev_driver.doctor.tree import look
from sev_driver.model import MemoryEncryptionModel

PASS, WARN, FAIL, SKIP = Verdict
SEV = MemoryEncryptionModel.AMD_SEV
GOOD = "[DEFAULT]\ncompute_driver = sev_driver.SEVDriver\n"


def found(id: str, conf: str, **changes: object):  # type: ignore[no-untyped-def]
    findings = look(nova_checks.NODES, evidence(conf, **changes), SEV)  # type: ignore[arg-type]
    return next(finding for finding in findings if finding.check.id == f"nova.{id}")


@pytest.mark.parametrize(
    ("id", "conf", "verdict", "said"),
    [
        ("compute-driver", GOOD, PASS, "sev_driver.SEVDriver"),
        ("compute-driver", "", FAIL, "unset"),
        (
            "compute-driver",
            "[DEFAULT]\ncompute_driver=libvirt.LibvirtDriver",
            FAIL,
            "Nova's own",
        ),
        (
            "compute-driver",
            "[DEFAULT]\ncompute_driver=sev_driver.driver.SEVDriver",
            FAIL,
            "not how nova-compute finds it",
        ),
        ("compute-driver", "[DEFAULT]\n#compute_driver=x\n", FAIL, "unset"),
        ("virt-type", "", PASS, "kvm"),
        ("virt-type", "[libvirt]\nvirt_type = kvm", PASS, "kvm"),
        ("virt-type", "[libvirt]\nvirt_type = qemu", FAIL, "cannot be encrypted"),
        ("virt-type", "[libvirt]\nvirt_type = lxc", FAIL, "it is lxc"),
        ("machine-type", "", PASS, "q35"),
        ("machine-type", "[libvirt]\nhw_machine_type = x86_64=q35", PASS, "q35"),
        ("machine-type", "[libvirt]\nhw_machine_type = aarch64=virt", PASS, "unset"),
        (
            "machine-type",
            "[libvirt]\nhw_machine_type = aarch64=virt, x86_64=pc-q35-7.2",
            PASS,
            "pc-q35-7.2",
        ),
        ("machine-type", "[libvirt]\nhw_machine_type = x86_64=pc", FAIL, "x86_64=pc,"),
        (
            "machine-type",
            "[libvirt]\nhw_machine_type = i686=q35,x86_64=pc-i440fx-7.2",
            FAIL,
            "refused",
        ),
        ("cpu-mode", "", PASS, "host-model"),
        ("cpu-mode", "[libvirt]\ncpu_mode = host-passthrough", PASS, "passthrough"),
        ("cpu-mode", "[libvirt]\ncpu_mode = hostmodel", FAIL, "does not start"),
        ("cpu-mode", "[libvirt]\ncpu_mode =", FAIL, "it is empty"),
        ("virt-type", "[libvirt]\nvirt_type =", FAIL, "it is empty"),
        (
            "cpu-mode",
            "[libvirt]\ncpu_mode = custom\ncpu_models = EPYC-Milan, EPYC",
            PASS,
            "EPYC-Milan",
        ),
        (
            "cpu-mode",
            "[libvirt]\ncpu_mode = custom\ncpu_models = EPYC,Skylake-Server",
            WARN,
            "Skylake-Server, which",
        ),
        ("policies", "", PASS, "Nova's own"),
        ("policies", "[sev]\nsev_policy = 0x33", PASS, "sev_policy 0x33"),
        ("policies", "[sev]\nsev_policy = NODBG|ES", FAIL, "SEV-ES"),
        ("policies", "[sev]\nsev_es_policy = 0x6", FAIL, "allow_debug"),
        ("policies", "[sev]\nsev_es_policy = 0x6\nallow_debug = True", PASS, "0x6"),
        ("policies", "[sev]\nsnp_policy = nonsense", FAIL, "nonsense"),
    ],
)
def test_options(id: str, conf: str, verdict: Verdict, said: str) -> None:
    finding = found(id, conf)
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding
    # What is to be done names the file and the restart that it takes.
    if verdict in (FAIL, WARN):
        assert PATH in finding.remedy
        assert "restart nova-compute" in finding.remedy


def test_a_remedy_is_what_to_write() -> None:
    wrong = "[libvirt]\nhw_machine_type = x86_64=pc\n"
    assert "set [libvirt] hw_machine_type = x86_64=q35 in /etc/nova/nova.conf" in (
        found("machine-type", wrong).remedy
    )


def test_what_could_not_be_read_is_skipped_and_never_passed() -> None:
    files = {PATH: Fact[bytes](unknown="Permission denied")}
    seen = look(
        nova_checks.NODES, evidence("", nova_files=files, read_as="operator"), SEV
    )
    assert {finding.verdict for finding in seen} == {SKIP}
    assert "cannot be read by operator (Permission denied)" in seen[0].seen
    assert "as root" in seen[0].seen


def test_one_unreadable_file_of_two_hides_what_counts() -> None:
    files = {PATH: Fact(b""), "/etc/nova/nova.conf.d/9.conf": Fact(unknown="denied")}
    seen = look(nova_checks.NODES, evidence(GOOD, nova_files=files), SEV)
    assert {finding.verdict for finding in seen} == {SKIP}


def test_without_a_file_it_is_told_where_one_was_sought() -> None:
    files: dict[str, Fact[bytes]] = {PATH: Fact()}
    first, *others = look(nova_checks.NODES, evidence("", nova_files=files), SEV)
    assert (first.verdict, PATH in first.seen) == (SKIP, True)
    assert "--nova-conf" in first.seen
    assert {finding.verdict for finding in others} == {SKIP}
