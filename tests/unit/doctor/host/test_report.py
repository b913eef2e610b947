# SPDX-License-Identifier: Apache-2.0
"""report: a diagnosis as text and as JSON, against goldens and the schema.

``REGENERATE_GOLDENS=1`` writes the goldens anew.
"""

import dataclasses
import json
import os
import pathlib

import nova_evidence
import pytest
from host_facts import EVERYTHING, OVMF
from test_capabilities import HOSTS
from test_diagnosis import GENOA, OFF, SNP_OFF, facts_of

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host import report
from sev_driver.doctor.host.diagnosis import DECISIVE, NODES, Diagnosis, diagnose
from sev_driver.doctor.host.evidence import (
    Daemon,
    Descriptor,
    Evidence,
    Fact,
    FirmwareContents,
    Import,
    Iommu,
    NovaCompute,
    Processor,
)
from sev_driver.doctor.text import Origin, Style
from sev_driver.host.facts import HostFacts
from sev_driver.host.files import Status
from sev_driver.model import MemoryEncryptionModel

ROOT = pathlib.Path(__file__).parents[4]
GOLDENS = ROOT / "tests/data/doctor"
SCHEMA = pathlib.Path(report.__file__).parents[1] / "schema.json"
SEV, SEV_ES, SEV_SNP = MemoryEncryptionModel
ORIGIN = Origin("1.0.0", "node1", "2026-01-01T00:00:00+00:00")

CONF = """
[DEFAULT]
compute_driver = sev_driver.SEVDriver
ram_allocation_ratio = 1.0
reserved_host_memory_mb = 135000
[libvirt]
num_memory_encrypted_guests = 200
cpu_mode = custom
cpu_models = EPYC-Milan
[sev]
num_sev_es_guests = 40
"""


def evidence(facts: HostFacts, **changes: object) -> Evidence:
    """A host of which all is known."""
    found = nova_evidence.evidence(
        CONF,
        facts=facts,
        processor=Fact(GENOA),
        command_line=Fact("iommu=pt"),
        modules=Fact(frozenset({"kvm_amd", "ccp"})),
        kernel_log=Fact(()),
        kvm_device=Fact(Status("c", 0o660, "root", "kvm")),
        sev_device=Fact(Status("c", 0o600, "root", "root")),
        iommu=Fact(Iommu(4, 60, frozenset({"identity"}))),
        daemon=Fact(Daemon("libvirtd", 812, 64 << 20, True)),
        apparmor=Fact("Y"),
        selinux=Fact(),
        qemu_conf=Fact({}),
        open_vswitch=Fact({}),
        libvirt=Fact("qemu:///system"),
        nova_compute=Fact(NovaCompute("/usr/bin/python3")),
        driver_import=Fact(Import(True, "/usr/lib/python3/dist-packages/sev_driver")),
        descriptors=(
            Descriptor(
                "/usr/share/qemu/firmware/60-ovmf-amdsev.json",
                OVMF,
                file=Fact(Status("-", 0o644, "root", "root")),
                contents=Fact(
                    FirmwareContents("ab" * 32, True, frozenset(MemoryEncryptionModel))
                ),
            ),
        ),
    )
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


NO_SME = Fact(dataclasses.replace(GENOA, flags=frozenset({"svm"})))


def all_three(found: Evidence) -> Diagnosis:
    return diagnose(NODES, found, SEV, MemoryEncryptionModel)


#: By name: what is judged, and how it is printed.
SCREENS: dict[str, tuple[Diagnosis, dict[str, bool]]] = {
    "everything": (all_three(evidence(EVERYTHING)), {}),
    "everything-verbose": (
        diagnose(NODES, evidence(EVERYTHING), SEV_SNP),
        {"verbose": True},
    ),
    "everything-quiet": (diagnose(NODES, evidence(EVERYTHING), SEV), {"quiet": True}),
    "sme-off": (all_three(evidence(OFF, processor=NO_SME)), {}),
    "sme-off-quiet": (
        all_three(evidence(OFF, processor=NO_SME)),
        {"quiet": True},
    ),
    "passthrough-iommu": (diagnose(NODES, evidence(SNP_OFF), SEV_SNP), {}),
    "colour": (diagnose(NODES, evidence(SNP_OFF), SEV_SNP), {"colour": True}),
}


def shown(diagnosis: Diagnosis, quiet: bool = False, **style: int) -> str:
    return report.as_text(diagnosis, Style(**style), quiet=quiet)  # type: ignore[arg-type]


def golden(name: str, text: str) -> str:
    path = GOLDENS / name
    if os.environ.get("REGENERATE_GOLDENS"):
        path.write_text(text)
    return path.read_text()


@pytest.mark.parametrize("name", SCREENS)
def test_what_people_read(name: str) -> None:
    diagnosis, options = SCREENS[name]
    text = shown(diagnosis, **options)
    assert text == golden(f"{name}.txt", text)


@pytest.mark.parametrize("name", ["everything", "sme-off"])
def test_what_programs_read(name: str) -> None:
    text = json.dumps(report.as_json(SCREENS[name][0], ORIGIN), indent=2) + "\n"
    assert text == golden(f"{name}.json", text)


def validate(document: object) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize("path", HOSTS, ids=lambda path: path.stem)
def test_the_json_of_every_host_is_of_the_schema(
    path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    found = Evidence(facts_of(path, tmp_path))
    validate(report.as_json(all_three(found), ORIGIN))


def test_the_schema_can_refuse() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    good = report.as_json(SCREENS["sme-off"][0], ORIGIN)
    validate(good)
    for wrong in (
        {**good, "format": 2},
        {**good, "more": 1},
        {**good, "generation": "sev"},
        {**good, "not_looked_at": ["no id"]},
        {key: each for key, each in good.items() if key != "not_looked_at"},
        {**good, "findings": [{**good["findings"][0], "verdict": "ok"}]},
        {**good, "findings": [{**good["findings"][0], "id": "no category"}]},
        {**good, "generations": {"amd-sev": {"would_run": False, "cause": None}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            validate(wrong)


def test_what_is_wrong_has_a_remedy_and_everything_words(
    tmp_path: pathlib.Path,
) -> None:
    for path in HOSTS:
        for finding, _ in all_three(Evidence(facts_of(path, tmp_path))).merged():
            assert finding.seen
            if finding.verdict in (Verdict.FAIL, Verdict.WARN):
                assert finding.remedy, (path.stem, finding)
            for words in (finding.seen, finding.remedy):
                assert "\n" not in words and not words.endswith(".")


#: All of which is unreadable, and nothing of it is in the driver's own facts.
UNREAD: dict[str, object] = {
    "kvm_device": Fact(unknown="denied"),
    "nova_files": {nova_evidence.PATH: Fact(unknown="denied")},
    "nova_compute": Fact(),
    "driver_import": Fact(),
    "memory": Fact(unknown="denied"),
}


@pytest.mark.parametrize("quiet", [True, False])
def test_what_decides_and_was_not_looked_at_is_told(quiet: bool) -> None:
    found = diagnose(NODES, evidence(EVERYTHING, **UNREAD), SEV)
    text = " ".join(report.as_text(found, quiet=quiet).split())
    assert text.endswith(
        "AMD SEV: a guest would run, as far as could be checked; not checked: "
        "/dev/kvm for QEMU, nova-compute, The driver in nova-compute's Python, "
        "nova.conf, Memory available."
    )
    assert found.exit_status == 0
    told = report.as_json(found, ORIGIN)
    validate(told)
    ids = ["libvirt.dev-kvm", "nova.compute", "nova.import", "nova.conf", "memory.room"]
    assert told["not_looked_at"] == ids
    assert told["models"]["amd-sev"]["not_looked_at"] == ids


def test_where_no_guest_would_run_the_cause_is_enough() -> None:
    found = diagnose(NODES, evidence(OFF, processor=NO_SME, **UNREAD), SEV)
    assert report.as_json(found, ORIGIN)["not_looked_at"] == []
    assert "not checked:" not in report.as_text(found)


#: A libvirt that may not be asked, as by a user who is in no group of its.
NOT_ASKED = dataclasses.replace(EVERYTHING, domain=None, domain_error="denied")


def test_a_libvirt_that_cannot_be_asked_is_no_no() -> None:
    host = evidence(NOT_ASKED, libvirt=Fact(unknown="Permission denied"))
    found = diagnose(NODES, host, SEV)
    text = report.as_text(found)
    assert "AMD SEV: whether a guest would run is not known; see libvirt." in text
    assert "does not run here" not in text
    assert found.exit_status == 1


@pytest.mark.parametrize(
    ("facts", "changes"),
    [
        (OFF, {"processor": NO_SME, "libvirt": Fact(unknown="Permission denied")}),
        (
            NOT_ASKED,
            {
                "driver_import": Fact(Import(False, "")),
                "libvirt": Fact(unknown="Permission denied"),
            },
        ),
        (NOT_ASKED, {"libvirt": Fact(unknown="No such file or directory")}),
    ],
    ids=["before libvirt", "after libvirt", "libvirt is down"],
)
def test_what_is_known_to_be_amiss_is_told(
    facts: HostFacts, changes: dict[str, object]
) -> None:
    text = report.as_text(diagnose(NODES, evidence(facts, **changes), SEV))
    assert "AMD SEV: no guest would run; see " in text


INTEL = Processor("GenuineIntel", 6, 0x55, "Xeon", frozenset({"vmx"}))


def test_machine_without_amd_processor_fails_for_that_alone() -> None:
    host = evidence(
        OFF, processor=Fact(INTEL), kvm_device=Fact(), libvirt=Fact(unknown="down")
    )
    found = all_three(host)
    for model in MemoryEncryptionModel:
        wrong = [
            finding.check.id
            for finding in found.findings[model]
            if finding.verdict in (Verdict.FAIL, Verdict.WARN)
        ]
        assert wrong == ["processor.vendor"]
    assert shown(found, quiet=True).splitlines() == [
        "  ✘ FAIL  AMD processor",
        "          the processor is made by Intel",
        "          → use an AMD EPYC",
    ]


def test_where_all_is_known_nothing_is_left_open() -> None:
    found = all_three(evidence(EVERYTHING))
    assert not any(map(found.not_looked_at, MemoryEncryptionModel))
    assert {node.check.id for node in NODES} >= DECISIVE


def test_lines_keep_to_the_width() -> None:
    text = shown(SCREENS["sme-off"][0], width=60)
    assert max(map(len, text.splitlines()[:-3])) <= 60
    assert "\033" not in text
