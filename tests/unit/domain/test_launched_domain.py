# SPDX-License-Identifier: Apache-2.0
"""launched_domain: the parts of a domain that was launched, or our own error."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.domain.launched_domain import LaunchedDomain
from sev_driver.exceptions import DomainXMLError

#: As libvirt 11.3 has it while the guest runs.
RUNNING = """
<domain type='kvm' id='1'>
  <name>instance-00000001</name>
  <vcpu placement='static'>2</vcpu>
  <os firmware='efi'>
    <type arch='x86_64' machine='pc-q35-10.0'>hvm</type>
    <firmware><feature enabled='no' name='secure-boot'/></firmware>
    <loader stateless='yes' type='rom' format='raw'>/usr/share/ovmf/OVMF.fd</loader>
  </os>
  <cpu mode='custom' match='exact' check='full'>
    <model fallback='forbid'>EPYC-Milan</model>
    <vendor>AMD</vendor>
    <feature policy='require' name='x2apic'/>
  </cpu>
  <launchSecurity type='sev-snp' kernelHashes='no' authorKey='no' vcek='yes'>
    <cbitpos>51</cbitpos>
    <reducedPhysBits>1</reducedPhysBits>
    <policy>0x00030000</policy>
  </launchSecurity>
</domain>
"""
EXPECTED = LaunchedDomain(0x30000, 2, "/usr/share/ovmf/OVMF.fd", "custom", "EPYC-Milan")
KERNEL = (
    "<kernel>/k</kernel><initrd>/i</initrd>"
    "<cmdline> root=/dev/vda  quiet </cmdline></os>"
)
WITH_KERNEL = dataclasses.replace(
    EXPECTED, kernel="/k", initrd="/i", cmdline=" root=/dev/vda  quiet "
)


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (RUNNING, EXPECTED),
        (RUNNING.replace("</os>", KERNEL), WITH_KERNEL),
        (
            RUNNING.replace("</os>", KERNEL).replace("Hashes='no'", "Hashes='yes'"),
            dataclasses.replace(WITH_KERNEL, measures_kernel=True),
        ),
        # Without a kernel, there is nothing to measure.
        (RUNNING.replace("Hashes='no'", "Hashes='yes'"), EXPECTED),
        (
            RUNNING.replace("static'>2<", "static' current='1'>2<"),
            dataclasses.replace(EXPECTED, vcpus=1),
        ),
        (
            "<domain><vcpu>1</vcpu><cpu mode='host-passthrough'/><launchSecurity "
            "type='sev-snp'><policy>0xb0000</policy></launchSecurity></domain>",
            LaunchedDomain(0xB0000, 1, None, "host-passthrough"),
        ),
    ],
    ids=["running", "kernel", "measured", "no kernel", "current", "passthrough"],
)
def test_parse(xml: str, expected: LaunchedDomain) -> None:
    assert LaunchedDomain.parse(xml) == expected


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("", "not well-formed"),
        ("<network/>", "the document is <network>"),
        (RUNNING.replace("sev-snp", "sev"), "no launchSecurity of type 'sev-snp'"),
        (RUNNING.replace("0x00030000", "many"), "without one policy"),
        (RUNNING.replace(">2<", "> two <"), "'two' is not a number of vCPUs"),
        (RUNNING.replace(">2<", ">\u0662<"), "is not a number of vCPUs"),
        (RUNNING.replace(">2<", f">{'9' * 5000}<"), "is not a number of vCPUs"),
        (RUNNING.replace("vcpu", "cpus"), "'' is not a number of vCPUs"),
    ],
)
def test_what_cannot_be_parsed(xml: str, words: str) -> None:
    with pytest.raises(DomainXMLError, match=words):
        LaunchedDomain.parse(xml)


@given(st.text() | st.sampled_from([RUNNING]), st.text(max_size=9), st.text(max_size=9))
def test_any_text_is_a_value_or_our_error(xml: str, old: str, new: str) -> None:
    with contextlib.suppress(DomainXMLError):
        LaunchedDomain.parse(xml.replace(old, new) if old else xml)
