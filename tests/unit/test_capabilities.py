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

"""capabilities: a verdict for each host, and its reason."""

import dataclasses

import pytest

from sev_driver.capabilities import (
    HostFacts,
    KvmParameter,
    ModelCapability,
    Obstacle,
    Support,
    conclude,
)
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.model import MemoryEncryptionModel

PATH = "/sys/module/kvm_amd/parameters/sev"
GOOD = HostFacts(
    virt_type="kvm",
    arch="x86_64",
    sev_parameter=KvmParameter(PATH, text="Y\n"),
    domain=DomainCapabilities(sev=True, max_guests=15, max_es_guests=0),
)


def sev(**changes: object) -> ModelCapability:
    facts = dataclasses.replace(GOOD, **changes)  # type: ignore[arg-type]
    return conclude(facts)[MemoryEncryptionModel.AMD_SEV]


def parameter(text: str | None = None, error: str | None = None) -> KvmParameter:
    return KvmParameter(PATH, text=text, error=error)


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_a_host_with_sev(virt_type: str) -> None:
    capability = sev(virt_type=virt_type)
    assert capability.supported
    assert capability.slots == 15
    assert "maxGuests" in capability.slots_source
    assert "15 slots" in str(capability)


@pytest.mark.parametrize("text", ["Y", "1", "y\n", "1\n", "true"])
def test_spellings_of_an_enabled_parameter(text: str) -> None:
    assert sev(sev_parameter=parameter(text)).supported


@pytest.mark.parametrize(
    ("changes", "obstacle", "words"),
    [
        ({"virt_type": "lxc"}, Obstacle.VIRT_TYPE, "virt_type is lxc"),
        ({"arch": "aarch64"}, Obstacle.ARCH, "aarch64"),
        ({"sev_parameter": parameter()}, Obstacle.PARAMETER_MISSING, "does not exist"),
        ({"sev_parameter": parameter("N\n")}, Obstacle.PARAMETER_OFF, "sev is N"),
        ({"sev_parameter": parameter("0")}, Obstacle.PARAMETER_OFF, "sev is 0"),
        ({"sev_parameter": parameter("")}, Obstacle.PARAMETER_OFF, "sev is empty"),
        (
            {"sev_parameter": parameter(error="Permission denied")},
            Obstacle.PARAMETER_UNREADABLE,
            "cannot be read (Permission denied)",
        ),
        (
            {"domain": None, "domain_error": "connection lost"},
            Obstacle.CAPABILITIES_UNREADABLE,
            "connection lost",
        ),
        (
            {"domain": DomainCapabilities(sev=False)},
            Obstacle.LIBVIRT_SAYS_NO,
            "supported='no'",
        ),
        (
            {"domain": DomainCapabilities(sev=True, max_guests=0)},
            Obstacle.NO_SLOTS,
            "maxGuests=0",
        ),
        (
            {"domain": DomainCapabilities(sev=True, max_guests=-3)},
            Obstacle.NO_SLOTS,
            "maxGuests=-3",
        ),
    ],
)
def test_a_host_without_sev_says_why(
    changes: dict[str, object], obstacle: Obstacle, words: str
) -> None:
    capability = sev(**changes)
    assert capability.obstacle is obstacle
    assert not capability.supported
    assert words in str(capability)
    assert capability.remedy


@pytest.mark.parametrize("obstacle", Obstacle)
def test_unreadable_is_not_unsupported(obstacle: Obstacle) -> None:
    unreadable = "unreadable" in obstacle.value
    assert obstacle.support is (Support.UNKNOWN if unreadable else Support.NO)


def test_libvirt_older_than_8_tells_no_number() -> None:
    capability = sev(domain=DomainCapabilities(sev=True))
    assert capability.supported
    assert capability.slots is None
