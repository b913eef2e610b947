# SPDX-License-Identifier: Apache-2.0

import dataclasses

import pytest
from host_facts import EVERYTHING
from nova_evidence import PATH, evidence

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host.checks import nova
from sev_driver.doctor.host.domains import RunningDomain
from sev_driver.doctor.host.evidence import Fact
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.host.facts import Versions
from sev_driver.model import SEV_SNP, MemoryEncryptionModel

PASS, WARN, FAIL, SKIP = Verdict
SEV = MemoryEncryptionModel.AMD_SEV
GOOD = "[DEFAULT]\ncompute_driver = sev_driver.SEVDriver\n"


def found(id: str, conf: str, **changes: object):  # type: ignore[no-untyped-def]
    findings = run_checks(checks_of(nova)[2:8], evidence(conf, **changes), SEV)  # type: ignore[arg-type]
    return next(finding for finding in findings if finding.check.id == f"nova.{id}")


ALLOWED = "[sev]\nallow_snp_pci_devices = true\n"
SNP_WITH_GPU = RunningDomain("1", "gpu", SEV_SNP, 1024, pci_devices=2)
SNP_WITHOUT = RunningDomain("2", "plain", SEV_SNP, 1024)


@pytest.mark.parametrize(
    ("conf", "model", "qemu", "verdict", "said"),
    [
        ("", SEV_SNP, (9, 1, 0), PASS, "they are refused"),
        (ALLOWED, SEV, (10, 0, 0), PASS, "AMD SEV guests are refused them"),
        (ALLOWED, SEV_SNP, (9, 1, 0), WARN, "and this host has 9.1.0"),
        (ALLOWED, SEV_SNP, None, WARN, "not tested on hardware"),
        (ALLOWED, SEV_SNP, (9, 2, 0), WARN, "not tested on hardware"),
        (ALLOWED, SEV_SNP, (9, 2, 0), WARN, "1 SEV-SNP guests run with them (2 dev"),
    ],
)
def test_pci_devices_of_snp_guests(
    conf: str,
    model: MemoryEncryptionModel,
    qemu: tuple[int, int, int] | None,
    verdict: Verdict,
    said: str,
) -> None:
    facts = dataclasses.replace(EVERYTHING, versions=Versions(qemu=qemu))
    read = evidence(GOOD + conf, facts=facts, domains=(SNP_WITH_GPU, SNP_WITHOUT))
    findings = run_checks(checks_of(nova), read, model)
    (finding,) = (f for f in findings if f.check.id == "nova.snp-pci-devices")
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding.seen
    assert bool(finding.remedy) is (verdict is WARN)


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
            "where nova-compute does not find it",
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
        (
            "policies",
            "[sev]\nsev_policy = nonsense\nsev_es_policy = 0x6\nsnp_policy = 0x1",
            FAIL,
            "sev_es_policy is 0x0006",
        ),
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
    seen = run_checks(
        checks_of(nova)[2:8], evidence("", nova_files=files, read_as="operator"), SEV
    )
    assert {finding.verdict for finding in seen} == {SKIP}
    assert "cannot be read by operator (Permission denied)" in seen[0].seen
    assert "as root" in seen[0].seen


def test_one_unreadable_file_of_two_hides_what_counts() -> None:
    files = {PATH: Fact(b""), "/etc/nova/nova.conf.d/9.conf": Fact(unknown="denied")}
    seen = run_checks(checks_of(nova)[2:8], evidence(GOOD, nova_files=files), SEV)
    assert {finding.verdict for finding in seen} == {SKIP}


def test_without_a_file_it_is_told_where_one_was_sought() -> None:
    files: dict[str, Fact[bytes]] = {PATH: Fact()}
    first, *others = run_checks(
        checks_of(nova)[2:8], evidence("", nova_files=files), SEV
    )
    assert (first.verdict, PATH in first.seen) == (SKIP, True)
    assert "--nova-conf" in first.seen
    assert {finding.verdict for finding in others} == {SKIP}


def test_all_invalid_policies_are_shown() -> None:
    text = "[sev]\nsev_policy = 0x133\nsev_es_policy = NOSUCH\nsnp_policy = 0x80000"
    outcome = nova.policies(evidence(text), SEV)
    assert outcome.verdict is FAIL
    for name in ("sev_policy", "sev_es_policy", "snp_policy"):
        assert f"[sev] {name}" in outcome.seen
