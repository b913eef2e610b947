# SPDX-License-Identifier: Apache-2.0
"""The doctor and the driver on the same hosts: never two opinions."""

import dataclasses
import pathlib

import pytest
from host_facts import EVERYTHING, FOLDER, parameters
from test_capabilities import HOSTS, arguments, load

from sev_driver.cmd import capabilities
from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host.diagnosis import NODES, diagnose
from sev_driver.doctor.host.evidence import (
    Evidence,
    Fact,
    SecureProcessor,
)
from sev_driver.doctor.host.tree import run_checks
from sev_driver.host.capabilities import ObstacleKind
from sev_driver.host.cpuid import MemoryEncryptionLeaf
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import HostFacts, Iommu, SevDevice, Versions
from sev_driver.host.files import Status
from sev_driver.host.processor import Processor
from sev_driver.model import MemoryEncryptionModel

SEV, SEV_ES, SEV_SNP = MemoryEncryptionModel

#: The categories that the driver's own verdict is about.
HOST = ("processor", "bios", "kernel", "libvirt", "firmware")

#: Where nothing more is known of a host than its driver knows.
CHECK = {
    ObstacleKind.VIRT_TYPE: "nova.virt-type",
    ObstacleKind.ARCH: "processor.vendor",
    ObstacleKind.VIRTUAL_MACHINE: "processor.physical",
    ObstacleKind.NOT_EPYC: "processor.generation",
    ObstacleKind.PROCESSOR_WITHOUT_SNP: "processor.generation",
    ObstacleKind.SME_OFF: "bios.sme",
    ObstacleKind.SECURE_PROCESSOR_FAILED: "kernel.secure-processor",
    ObstacleKind.SEV_FIRMWARE_TOO_OLD: "kernel.secure-processor",
    ObstacleKind.IOMMU_MODE: "kernel.iommu-mode",
    ObstacleKind.IOMMU_OFF: "bios.iommu",
    ObstacleKind.SNP_OFF: "bios.snp",
    ObstacleKind.KERNEL_WITHOUT_SEV: "kernel.kvm-amd",
    ObstacleKind.SWITCHED_OFF: "kernel.parameter",
    ObstacleKind.PARAMETER_UNREADABLE: "kernel.parameter",
    ObstacleKind.PARAMETER_MISSING: "kernel.parameter",
    ObstacleKind.PARAMETER_OFF: "kernel.parameter",
    ObstacleKind.DEVICE_MISSING: "kernel.secure-processor",
    ObstacleKind.CAPABILITIES_UNREADABLE: "libvirt.domain-capabilities",
    ObstacleKind.LIBVIRT_SAYS_NO: "libvirt.domain-capabilities",
    ObstacleKind.BESIDE_SNP: "kernel.kvm",
    ObstacleKind.VERSION_TOO_OLD: "libvirt.versions",
    ObstacleKind.TYPE_MISSING: "libvirt.launch-security",
    ObstacleKind.SLOTS_UNREADABLE: "libvirt.slots",
    ObstacleKind.NO_SLOTS: "bios.asids",
    ObstacleKind.KVM_SAYS_NO: "kernel.kvm",
    ObstacleKind.NO_FIRMWARE: "firmware.descriptor",
}


def facts_of(path: pathlib.Path, folder: pathlib.Path) -> HostFacts:
    """Read a described host as sev-capabilities does."""
    options = capabilities._parser().parse_args(arguments(load(path), folder))
    return capabilities.gather(options)


def failures(evidence: Evidence, model: MemoryEncryptionModel) -> list[Finding]:
    nodes = [node for node in NODES if node.check.category in HOST]
    found = run_checks(nodes, evidence, model)
    return [finding for finding in found if finding.verdict is Verdict.FAIL]


@pytest.mark.parametrize("path", HOSTS, ids=lambda path: path.stem)
def test_the_doctor_fails_what_the_driver_refuses_and_nothing_else(
    path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    evidence = Evidence(facts_of(path, tmp_path))
    for model, capability in evidence.capabilities.items():
        wrong = failures(evidence, model)
        if capability.obstacle is ObstacleKind.VIRT_TYPE:
            assert not wrong
        elif capability.supported:
            assert not wrong, wrong
        else:
            assert capability.obstacle is not None
            expected = {CHECK[capability.obstacle]}
            if capability.obstacle is ObstacleKind.PARAMETER_MISSING:
                # The version of the kernel says why.
                expected.add("kernel.version")
            if capability.obstacle in (
                ObstacleKind.PARAMETER_OFF,
                ObstacleKind.NO_SLOTS,
            ):
                # The count of ASIDs may say why.
                expected |= {"bios.asids", "kernel.ciphertext-hiding"}
            assert wrong, capability
            assert wrong[0].check.id in expected, wrong
            assert len(wrong) == 1


def test_every_obstacle_has_its_check() -> None:
    assert set(CHECK) == set(ObstacleKind)
    ids = {node.check.id for node in NODES}
    assert {name for name in CHECK.values() if not name.startswith("nova.")} <= ids


def test_each_check_stands_once_and_below_its_parent() -> None:
    seen: list[str] = []
    for node in NODES:
        assert node.check.id not in seen
        assert not node.parent or node.parent in seen, node.check.id
        seen.append(node.check.id)
    categories = [node.check.category for node in NODES]
    order = list(dict.fromkeys(categories))
    assert categories == sorted(categories, key=order.index)
    assert order[:5] == list(HOST)


GENOA = Processor(
    "AuthenticAMD", 0x19, 0x11, "AMD EPYC 9354", frozenset({"sme", "sev", "sev_snp"})
)
OFF = dataclasses.replace(
    EVERYTHING, parameters=parameters(sev="N", sev_es="N", sev_snp="N")
)
SNP_OFF = dataclasses.replace(EVERYTHING, parameters=parameters(sev_snp="N"))
MISSING = dataclasses.replace(EVERYTHING, parameters=parameters(sev=None))
NO_DEVICE = dataclasses.replace(EVERYTHING, device=SevDevice(False))
DEAF = dataclasses.replace(EVERYTHING, domain=DomainCapabilities(False))
UNREACHED = dataclasses.replace(EVERYTHING, domain=None, domain_error="no socket")
ASIDS = dataclasses.replace(
    EVERYTHING,
    parameters=parameters(sev_es="N", sev_snp="N"),
    domain=DomainCapabilities(True, 509, 0),
    cpuid=MemoryEncryptionLeaf(0x1A, 0x173, 509, 1),
    misc_capacity={"sev": 509},
)


def processor(**changes: object) -> Fact[Processor]:
    return Fact(dataclasses.replace(GENOA, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "evidence", "cause", "words"),
    [
        (
            SEV,
            Evidence(OFF, processor=processor(vendor="GenuineIntel")),
            "processor.vendor",
            "use an AMD EPYC",
        ),
        (
            SEV_SNP,
            Evidence(SNP_OFF, processor=processor(family=0x17, model=0x31)),
            "processor.generation",
            "Rome",
        ),
        (
            SEV,
            Evidence(OFF, processor=processor(flags=frozenset({"svm"}))),
            "bios.sme",
            "SMEE to Enabled",
        ),
        (
            SEV,
            Evidence(OFF, processor=processor(flags=frozenset({"hypervisor"}))),
            "processor.physical",
            "virtual machine",
        ),
        (SEV_ES, Evidence(ASIDS), "bios.asids", "SEV-ES ASID Space Limit"),
        (SEV_SNP, Evidence(ASIDS), "bios.asids", "maxESGuests"),
        (
            SEV_SNP,
            Evidence(SNP_OFF, iommu=Fact(Iommu(0, 0, frozenset()))),
            "bios.iommu",
            "set IOMMU to Enabled",
        ),
        (
            SEV_SNP,
            Evidence(SNP_OFF, processor=processor(flags=frozenset({"sme", "sev"}))),
            "bios.snp",
            "SNP Memory (RMP Table) Coverage",
        ),
        (
            SEV_SNP,
            Evidence(
                SNP_OFF,
                processor=processor(),
                kernel_log=Fact(
                    ("AMD-Vi: SNP: IOMMU SNP feature not enabled, SNP cannot be",)
                ),
            ),
            "bios.snp",
            "not Auto",
        ),
        (
            SEV_SNP,
            Evidence(SNP_OFF, command_line=Fact("iommu=pt")),
            "kernel.iommu-mode",
            "iommu=pt",
        ),
        (
            SEV_SNP,
            Evidence(SNP_OFF, iommu=Fact(Iommu(1, 60, frozenset({"identity"})))),
            "kernel.iommu-mode",
            "iommu=nopt",
        ),
        (
            SEV,
            Evidence(MISSING, modules=Fact(frozenset({"kvm"}))),
            "kernel.kvm-amd",
            "modprobe kvm_amd",
        ),
        (
            SEV_SNP,
            Evidence(
                dataclasses.replace(
                    EVERYTHING,
                    parameters=parameters(sev_snp=None),
                    versions=Versions(kernel=(6, 8, 0)),
                )
            ),
            "kernel.version",
            "6.11",
        ),
        (
            SEV,
            Evidence(NO_DEVICE, modules=Fact(frozenset({"kvm_amd"}))),
            "kernel.secure-processor",
            "modprobe ccp",
        ),
        (
            SEV,
            Evidence(NO_DEVICE, secure_processor=Fact(SecureProcessor((), {}))),
            "kernel.secure-processor",
            "no PCI device",
        ),
        (
            SEV_SNP,
            Evidence(
                NO_DEVICE,
                kernel_log=Fact(("ccp 0000:02:00.5: SEV: failed to INIT rc -5",)),
            ),
            "kernel.secure-processor",
            "failed to INIT rc -5",
        ),
        (
            SEV_ES,
            Evidence(
                dataclasses.replace(
                    EVERYTHING, parameters=parameters(ciphertext_hiding_asids="99")
                )
            ),
            "kernel.ciphertext-hiding",
            "lower ciphertext_hiding_asids",
        ),
        (
            SEV,
            Evidence(
                UNREACHED, libvirt=Fact(unknown="Failed to connect socket: No such")
            ),
            "libvirt.reach",
            "systemctl start libvirtd",
        ),
        (
            SEV,
            Evidence(UNREACHED, libvirt=Fact(unknown="Permission denied")),
            "libvirt.reach",
            "as root",
        ),
        (
            SEV,
            Evidence(UNREACHED, libvirt=Fact("qemu:///system"), kvm_device=Fact()),
            "libvirt.dev-kvm",
            "there is no /dev/kvm",
        ),
        (
            SEV,
            Evidence(
                DEAF,
                libvirt=Fact("qemu:///system"),
                sev_device=Fact(Status("c", 0, "root", "root")),
            ),
            "libvirt.dev-sev",
            "root:root 0000",
        ),
        (
            SEV,
            Evidence(
                DEAF,
                libvirt=Fact("qemu:///system"),
                sev_device=Fact(Status("c", 0o600, "root", "root")),
                qemu_conf=Fact({"namespaces": "[ ]"}),
            ),
            "libvirt.dev-sev",
            "namespaces",
        ),
        (
            SEV,
            Evidence(
                DEAF,
                libvirt=Fact("qemu:///system"),
                kernel_log=Fact(
                    ('audit: apparmor="DENIED" profile="libvirtd" name="/dev/sev"',)
                ),
            ),
            "libvirt.confinement",
            "apparmor",
        ),
    ],
)
def test_the_cause_is_named_first(
    model: MemoryEncryptionModel, evidence: Evidence, cause: str, words: str
) -> None:
    wrong = failures(evidence, model)
    assert [finding.check.id for finding in wrong][:1] == [cause], wrong
    assert words in wrong[0].seen + wrong[0].remedy
    assert wrong[0].remedy


@pytest.mark.parametrize("model", MemoryEncryptionModel)
@pytest.mark.parametrize(
    "changes",
    [
        {"processor": processor(vendor="GenuineIntel", flags=frozenset())},
        {"processor": processor(family=0x17, model=1)},
        {"command_line": Fact("iommu=pt")},
        {"iommu": Fact(Iommu(0, 0, frozenset()))},
        {"modules": Fact(frozenset())},
        {"secure_processor": Fact(SecureProcessor((), {}))},
        {"sev_device": Fact(Status("c", 0, "root", "root"))},
        {"kvm_device": Fact()},
        {"libvirt": Fact(unknown="gone since")},
    ],
)
def test_what_looks_wrong_fails_no_host_that_the_driver_offers(
    changes: dict[str, Fact[object]], model: MemoryEncryptionModel
) -> None:
    evidence = Evidence(EVERYTHING, **changes)  # type: ignore[arg-type]
    assert evidence.capabilities[model].supported
    assert not failures(evidence, model)


def test_the_rest_of_the_tree_is_skipped_with_the_reason() -> None:
    evidence = Evidence(OFF, processor=processor(flags=frozenset({"svm"})))
    findings = {f.check.id: f for f in run_checks(NODES, evidence, SEV)}
    below = findings["kernel.dev-sev"]
    assert below.verdict is Verdict.SKIP
    assert findings["bios.sme"].check.title in below.seen
    assert FOLDER not in below.seen


def test_a_finding_of_all_generations_is_told_once() -> None:
    diagnosis = diagnose(NODES, Evidence(OFF), SEV, MemoryEncryptionModel)
    told = [(f.check.id, models) for f, models in diagnosis.merged()]
    assert ("kernel.parameter", tuple(MemoryEncryptionModel)) in told
    ids = [node.check.id for node in NODES]
    places = [ids.index(check) for check, _ in told]
    assert places == sorted(places)
