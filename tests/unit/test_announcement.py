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

"""announcement: what the log says at start."""

import logging

import pytest

from sev_driver import announcement
from sev_driver.capabilities import ModelCapability, Obstacle
from sev_driver.memory import HostMemory
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
RAM = HostMemory(total_mib=262144, reserved_mib=512, ratio=None)
ON = ModelCapability(SEV, slots=15, slots_source="libvirt")


def lines(
    capability: ModelCapability = ON, cap: int | None = None, ram: HostMemory = RAM
) -> list[tuple[int, str]]:
    return list(announcement.lines({SEV: capability}, {SEV: cap}, ram))


def test_a_host_with_sev() -> None:
    texts = [text for level, text in lines() if level == logging.INFO]
    assert texts[0] == "AMD SEV is supported: 15 slots (libvirt)."
    assert texts[1] == "AMD SEV: 15 slots offered to Placement (libvirt)"
    need = "reserved_host_memory_mb to the host's own need and 480 to 3840 more"
    assert f"{need} (it is set to 512 now)" in texts[2]
    assert "/machine.slice to the host's 262144 MiB less its own need" in texts[2]


def test_a_host_without_sev_says_so_once() -> None:
    off = ModelCapability(SEV, Obstacle.NO_SLOTS, "because", "mend it")
    assert lines(off) == [
        (logging.INFO, "AMD SEV is off on this host: because; mend it.")
    ]


def levels(*told: ModelCapability) -> list[int]:
    """Return how loud each of the verdicts is."""
    host = {capability.model: capability for capability in told}
    said = list(announcement.lines(host, {}, RAM))
    return [
        next(level for level, text in said if text.startswith(str(capability)))
        for capability in told
    ]


def off(
    model: MemoryEncryptionModel, obstacle: Obstacle, reason: str
) -> ModelCapability:
    return ModelCapability(model, obstacle, reason, "mend it")


ES, SNP = MemoryEncryptionModel.AMD_SEV_ES, MemoryEncryptionModel.AMD_SEV_SNP


def test_what_keeps_sev_off_is_said_once() -> None:
    told = [off(model, Obstacle.LIBVIRT_SAYS_NO, "because") for model in (SEV, ES, SNP)]
    assert levels(*told) == [logging.INFO, logging.DEBUG, logging.DEBUG]
    told = [off(m, Obstacle.CAPABILITIES_UNREADABLE, "lost") for m in (SEV, ES, SNP)]
    assert levels(*told) == [logging.ERROR, logging.DEBUG, logging.DEBUG]


def test_what_the_operator_has_not_switched_on_is_no_news() -> None:
    es = off(ES, Obstacle.PARAMETER_OFF, "sev_es is N")
    snp = off(SNP, Obstacle.PARAMETER_MISSING, "sev_snp does not exist")
    assert levels(ON, es, snp) == [logging.INFO, logging.DEBUG, logging.DEBUG]


def test_what_is_switched_on_and_cannot_be_used_is_told() -> None:
    es = off(ES, Obstacle.NO_FIRMWARE, "no firmware")
    snp = off(SNP, Obstacle.PARAMETER_UNREADABLE, "denied")
    assert levels(ON, es, snp) == [logging.INFO, logging.INFO, logging.ERROR]


def test_what_cannot_be_read_is_an_error() -> None:
    unknown = ModelCapability(
        SEV, Obstacle.PARAMETER_UNREADABLE, "permission denied", "mend it"
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
