# SPDX-License-Identifier: Apache-2.0
"""kernel_rules: what the command line, the modules and the processor say."""

import pytest
from host_facts import SEV, SEV_ES, SEV_SNP, judged, parameters

from sev_driver.host.capabilities import ObstacleKind
from sev_driver.host.facts import SystemFacts
from sev_driver.host.processor import Processor
from sev_driver.model import MemoryEncryptionModel

SNP_OFF = parameters(sev_snp="N")
ALL_OFF = parameters(sev="N", sev_es="N", sev_snp="N")


@pytest.mark.parametrize(
    "words",
    [
        "iommu=pt",
        "iommu=pt,soft",
        "iommu=soft",
        "iommu=off",
        "amd_iommu=off",
        "amd_iommu=pgtbl_v2",
        "amd_iommu=fullflush,pgtbl_v2",
        "iommu.passthrough=1",
        "iommu.passthrough=on",
        "iommu.passthrough=y",
        "quiet iommu=pt kvm_amd.sev=1",
    ],
)
def test_an_iommu_that_does_not_translate_rules_out_snp(words: str) -> None:
    facts = SystemFacts(command_line=words)
    found = judged(SEV_SNP, parameters=SNP_OFF, system=facts)
    assert found.obstacle is ObstacleKind.IOMMU_MODE
    assert next(w for w in words.split() if "iommu" in w) in found.reason
    # The kernel knows better: it has SEV-SNP on.
    assert judged(SEV_SNP, system=facts).supported
    assert judged(SEV, parameters=SNP_OFF, system=facts).supported


@pytest.mark.parametrize(
    "words", ["", "iommu=nopt", "amd_iommu=pgtbl_v1", "iommu.passthrough=0", "pt"]
)
def test_other_words_do_not(words: str) -> None:
    facts = SystemFacts(command_line=words)
    found = judged(SEV_SNP, parameters=SNP_OFF, system=facts)
    assert found.obstacle is ObstacleKind.PARAMETER_OFF


@pytest.mark.parametrize(
    ("word", "models"),
    [
        ("kvm_amd.sev=0", {SEV, SEV_ES, SEV_SNP}),
        ("kvm-amd.sev=off", {SEV, SEV_ES, SEV_SNP}),
        ("kvm_amd.npt=0", {SEV, SEV_ES, SEV_SNP}),
        ("kvm_amd.nrips=N", {SEV, SEV_ES, SEV_SNP}),
        ("kvm_amd.sev_es=0", {SEV_ES, SEV_SNP}),
        ("kvm_amd.lbrv=0", {SEV_ES, SEV_SNP}),
        ("kvm.mmio_caching=0", {SEV_ES, SEV_SNP}),
        ("kvm_amd.sev_snp=0", {SEV_SNP}),
        ("kvm_amd.sev=1", set()),
        ("kvm_amd.avic=0", set()),
    ],
)
def test_a_word_that_switches_models_off_is_named(
    word: str, models: set[MemoryEncryptionModel]
) -> None:
    facts = SystemFacts(command_line=f"iommu=nopt {word}")
    for model in MemoryEncryptionModel:
        found = judged(model, parameters=ALL_OFF, system=facts)
        named = found.obstacle is ObstacleKind.SWITCHED_OFF and word in found.reason
        assert named == (model in models), found


@pytest.mark.parametrize(
    ("name", "is_consumer"),
    [
        ("AMD Ryzen 7 1800X Eight-Core Processor", True),
        ("AMD Ryzen Threadripper PRO 5975WX 32-Cores", True),
        ("AMD EPYC 7543 32-Core Processor", False),
        ("AMD EPYC Embedded 3151", False),
        ("AMD Eng Sample: 100-000000314-04_35/21_N", False),
        ("", False),
    ],
)
def test_a_processor_without_sev_firmware_is_known_by_its_name(
    name: str, is_consumer: bool
) -> None:
    processor = Processor("AuthenticAMD", 0x19, 1, name, frozenset({"sme", "sev"}))
    assert processor.is_consumer is is_consumer
    assert (processor.generation is None) is is_consumer


def test_a_consumer_processor_that_works_is_not_refused() -> None:
    """The name is a guess: a /dev/sev that is there and libvirt know better."""
    ryzen = Processor("AuthenticAMD", 0x17, 1, "AMD Ryzen 7", frozenset({"sev"}))
    assert judged(SEV, system=SystemFacts(processor=ryzen)).supported
