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

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.capabilities import (
    DomainCapabilities,
    HostFacts,
    KvmParameter,
    ModelCapability,
    Support,
    conclude,
)
from sev_driver.exceptions import MalformedCapabilities
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
    ("changes", "support", "words"),
    [
        ({"virt_type": "lxc"}, Support.NO, "virt_type is lxc"),
        ({"arch": "aarch64"}, Support.NO, "aarch64"),
        ({"sev_parameter": parameter()}, Support.NO, "does not exist"),
        ({"sev_parameter": parameter("N\n")}, Support.NO, "sev is N"),
        ({"sev_parameter": parameter("0")}, Support.NO, "sev is 0"),
        ({"sev_parameter": parameter("")}, Support.NO, "sev is empty"),
        (
            {"sev_parameter": parameter(error="Permission denied")},
            Support.UNKNOWN,
            "cannot be read (Permission denied)",
        ),
        (
            {"domain": None, "domain_error": "connection lost"},
            Support.UNKNOWN,
            "connection lost",
        ),
        ({"domain": DomainCapabilities(sev=False)}, Support.NO, "supported='no'"),
        (
            {"domain": DomainCapabilities(sev=True, max_guests=0)},
            Support.NO,
            "maxGuests=0",
        ),
        (
            {"domain": DomainCapabilities(sev=True, max_guests=-3)},
            Support.NO,
            "maxGuests=-3",
        ),
    ],
)
def test_a_host_without_sev_says_why(
    changes: dict[str, object], support: Support, words: str
) -> None:
    capability = sev(**changes)
    assert capability.support is support
    assert not capability.supported
    assert words in str(capability)
    assert capability.remedy


def test_libvirt_older_than_8_tells_no_number() -> None:
    capability = sev(domain=DomainCapabilities(sev=True))
    assert capability.supported
    assert capability.slots is None


FEATURES = "<domainCapabilities><features>%s</features></domainCapabilities>"


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (
            FEATURES % "<sev supported='yes'><cbitpos>51</cbitpos>"
            "<maxGuests>410</maxGuests><maxESGuests>99</maxESGuests></sev>",
            DomainCapabilities(True, 410, 99),
        ),
        (
            FEATURES % "<sev supported='yes'><cbitpos>47</cbitpos></sev>",
            DomainCapabilities(True),
        ),
        (FEATURES % "<sev supported='no'/>", DomainCapabilities(False)),
        # libvirt 11.3: launchSecurity without its enum crashes stock Nova 34.
        (
            FEATURES % "<launchSecurity supported='yes'/>",
            DomainCapabilities(False),
        ),
        ("<domainCapabilities/>", DomainCapabilities(False)),
    ],
)
def test_domain_capabilities(xml: str, expected: DomainCapabilities) -> None:
    assert DomainCapabilities.parse(xml) == expected


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<capabilities/>",
        "<domainCapabilities>",
        FEATURES % "<sev supported='yes'><maxGuests>many</maxGuests></sev>",
        FEATURES % "<sev supported='yes'><maxGuests/></sev>",
        "<!DOCTYPE a><domainCapabilities/>",
    ],
)
def test_malformed_domain_capabilities(xml: str) -> None:
    with pytest.raises(MalformedCapabilities):
        DomainCapabilities.parse(xml)


@given(st.binary(max_size=300), st.text(max_size=60))
def test_any_input_is_a_value_or_our_error(data: bytes, number: str) -> None:
    framed = FEATURES % f"<sev supported='yes'><maxGuests>{number}</maxGuests></sev>"
    for xml in (data, framed):
        with contextlib.suppress(MalformedCapabilities):
            DomainCapabilities.parse(xml)
