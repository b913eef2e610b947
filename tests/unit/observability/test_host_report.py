# SPDX-License-Identifier: Apache-2.0

"""announcement: what the log says at start."""

import logging

import pytest

from sev_driver.host.capabilities import HostCapabilities, ModelCapability, ObstacleKind
from sev_driver.host.memory import HostMemory
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability import host_report

SEV = MemoryEncryptionModel.AMD_SEV
RAM = HostMemory(total_mib=262144, reserved_mib=512, ratio=None)
ON = ModelCapability(SEV, slots=15, slots_source="libvirt")


def lines(
    capability: ModelCapability = ON, cap: int | None = None, ram: HostMemory = RAM
) -> list[tuple[int, str]]:
    return list(host_report.lines(HostCapabilities((capability,)), {SEV: cap}, ram))


def test_a_host_with_sev() -> None:
    texts = [text for level, text in lines() if level == logging.INFO]
    assert texts[0] == "AMD SEV is supported: 15 slots (libvirt)."
    assert texts[1] == "AMD SEV: 15 slots offered to Placement (libvirt)"
    need = (
        "reserved_host_memory_mb to the memory the host itself needs plus 480 to 3840"
    )
    assert f"{need} (it is 512 now)" in texts[2]
    assert "/machine.slice to the host's 262144 MiB minus that memory" in texts[2]


def test_a_host_without_sev_says_so_once() -> None:
    off = ModelCapability(SEV, ObstacleKind.NO_SLOTS, "because", "mend it")
    assert lines(off) == [
        (logging.INFO, "AMD SEV is not available on this host: because; mend it.")
    ]


def levels(*told: ModelCapability) -> list[int]:
    """Return how loud each of the verdicts is."""
    host = HostCapabilities(told)
    said = list(host_report.lines(host, {}, RAM))
    return [
        next(level for level, text in said if text.startswith(str(capability)))
        for capability in told
    ]


def off(
    model: MemoryEncryptionModel, obstacle: ObstacleKind, reason: str
) -> ModelCapability:
    return ModelCapability(model, obstacle, reason, "mend it")


ES, SNP = MemoryEncryptionModel.AMD_SEV_ES, MemoryEncryptionModel.AMD_SEV_SNP


def test_what_keeps_sev_off_is_said_once() -> None:
    told = [
        off(model, ObstacleKind.LIBVIRT_SAYS_NO, "because") for model in (SEV, ES, SNP)
    ]
    assert levels(*told) == [logging.INFO, logging.DEBUG, logging.DEBUG]
    told = [
        off(m, ObstacleKind.CAPABILITIES_UNREADABLE, "lost") for m in (SEV, ES, SNP)
    ]
    assert levels(*told) == [logging.ERROR, logging.DEBUG, logging.DEBUG]


def test_what_keeps_two_models_off_is_said_once() -> None:
    told = [off(model, ObstacleKind.NO_SLOTS, "no ASIDs") for model in (ES, SNP)]
    assert levels(ON, *told) == [logging.INFO, logging.INFO, logging.DEBUG]


def test_what_the_processor_does_not_have_is_no_news() -> None:
    snp = off(SNP, ObstacleKind.PROCESSOR_WITHOUT_SNP, "it is Rome")
    assert levels(ON, snp) == [logging.INFO, logging.DEBUG]


def test_what_the_operator_has_not_switched_on_is_no_news() -> None:
    es = off(ES, ObstacleKind.PARAMETER_OFF, "sev_es is N")
    snp = off(SNP, ObstacleKind.PARAMETER_MISSING, "sev_snp does not exist")
    assert levels(ON, es, snp) == [logging.INFO, logging.DEBUG, logging.DEBUG]


def test_what_is_switched_on_and_cannot_be_used_is_told() -> None:
    es = off(ES, ObstacleKind.NO_FIRMWARE, "no firmware")
    snp = off(SNP, ObstacleKind.PARAMETER_UNREADABLE, "denied")
    assert levels(ON, es, snp) == [logging.INFO, logging.INFO, logging.ERROR]


def test_what_cannot_be_read_is_an_error() -> None:
    unknown = ModelCapability(
        SEV, ObstacleKind.PARAMETER_UNREADABLE, "permission denied", "mend it"
    )
    assert lines(unknown) == [
        (
            logging.ERROR,
            "AMD SEV cannot be determined on this host: permission denied; mend it.",
        )
    ]


@pytest.mark.parametrize(("cap", "warned"), [(None, 0), (4, 0), (15, 0), (16, 1)])
def test_a_cap_above_the_hardware(cap: int | None, warned: int) -> None:
    warnings = [text for level, text in lines(cap=cap) if level == logging.WARNING]
    assert len(warnings) == warned


@pytest.mark.parametrize(("ratio", "warned"), [(None, 0), (0.0, 0), (1.0, 0), (1.5, 1)])
def test_overcommitted_memory(ratio: float | None, warned: int) -> None:
    ram = HostMemory(262144, 512, ratio)
    warnings = [text for level, text in lines(ram=ram) if level == logging.WARNING]
    assert len(warnings) == warned


def test_no_total_without_a_number_of_slots() -> None:
    unknown = ModelCapability(SEV, slots_source="old libvirt")
    text = "\n".join(text for _level, text in lines(unknown))
    assert "unlimited slots offered" in text
    assert "reserved_host_memory_mb" not in text
