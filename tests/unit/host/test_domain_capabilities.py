# SPDX-License-Identifier: Apache-2.0
"""domain_capabilities: libvirt's document, or our own error."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.exceptions import MalformedCapabilities
from sev_driver.host.domain_capabilities import DomainCapabilities

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
        (
            FEATURES % "<launchSecurity supported='yes'><enum name='sectype'>"
            "<value>sev</value><value>sev-snp</value></enum></launchSecurity>",
            DomainCapabilities(False, sectypes=frozenset({"sev", "sev-snp"})),
        ),
        (
            FEATURES % "<launchSecurity supported='yes'><enum name='other'>"
            "<value>sev-snp</value></enum></launchSecurity>",
            DomainCapabilities(False),
        ),
        (
            FEATURES % "<launchSecurity supported='no'/>",
            DomainCapabilities(False, sectypes=frozenset()),
        ),
        (
            "<domainCapabilities><os supported='yes'><loader supported='yes'>"
            "<value>/a.fd</value><value>/b.fd</value><enum name='type'>"
            "<value>rom</value></enum></loader></os></domainCapabilities>",
            DomainCapabilities(False, loaders=frozenset({"/a.fd", "/b.fd"})),
        ),
        # What was to be below zero, printed without a sign and with one.
        (
            FEATURES % "<sev supported='yes'><maxGuests>4294967295</maxGuests>"
            "<maxESGuests> -2 </maxESGuests></sev>",
            DomainCapabilities(True, -1, -2),
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
        # More than 32 bits, more than Placement stores, more digits than Python reads.
        FEATURES % "<sev supported='yes'><maxGuests>4294967296</maxGuests></sev>",
        FEATURES % f"<sev supported='yes'><maxGuests>{'9' * 9999}</maxGuests></sev>",
        FEATURES % "<sev supported='yes'><maxGuests>\u0661\u0665</maxGuests></sev>",
        FEATURES % "<sev supported='yes'><maxGuests>1_5</maxGuests></sev>",
        "<!DOCTYPE a><domainCapabilities/>",
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/hostname'>]>"
        "<domainCapabilities>&b;</domainCapabilities>",
        f"<domainCapabilities>{'<a/>' * 2_000_000}</domainCapabilities>",
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
