# SPDX-License-Identifier: Apache-2.0


import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from sev_driver.domain import verify
from sev_driver.exceptions import DomainXMLError
from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import reserved

SEV = MemoryEncryptionModel.AMD_SEV
ES = MemoryEncryptionModel.AMD_SEV_ES
SNP = MemoryEncryptionModel.AMD_SEV_SNP

#: The content of <domain>; the model whose slot it holds.


def _by_arguments(value: str) -> str:
    """Return what a domain has that gives QEMU an object as it is written."""
    name = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    root = etree.Element(f"{name}commandline")
    for text in ("-object", value):
        etree.SubElement(root, f"{name}arg", value=text)
    return etree.tostring(root, encoding="unicode")


DOMAINS = {
    "plain": ("<name>a</name>", None),
    "SEV": (
        "<launchSecurity type='sev'><policy>0x0033</policy></launchSecurity>",
        SEV,
    ),
    "SEV, hexadecimal as all are": (
        "<launchSecurity type='sev'><policy>51</policy></launchSecurity>",
        SEV,
    ),
    "SEV-ES": (
        "<launchSecurity type='sev'><policy>0x0037</policy></launchSecurity>",
        ES,
    ),
    "SEV-ES that may be debugged": (
        "<launchSecurity type='sev'><policy>0x4</policy></launchSecurity>",
        ES,
    ),
    "SEV, policy of a future": (
        "<launchSecurity type='sev'><policy>0xff00</policy></launchSecurity>",
        SEV,
    ),
    "SEV without a policy": ("<launchSecurity type='sev'/>", SEV),
    "SEV-SNP": (
        "<launchSecurity type='sev-snp'><policy>0x30000</policy></launchSecurity>",
        SNP,
    ),
    "TDX": ("<launchSecurity type='tdx'/>", None),
    "s390": ("<launchSecurity type='s390-pv'/>", None),
    "no type": ("<launchSecurity/>", None),
    "SEV-SNP by QEMU's arguments": (
        _by_arguments("sev-snp-guest,id=sev0,policy=0x30000,cbitpos=51"),
        SNP,
    ),
    "SEV-ES by QEMU's arguments": (_by_arguments("sev-guest,id=s,policy=0x5"), ES),
    "SEV by QEMU's arguments": (_by_arguments("sev-guest,id=s,policy=03"), SEV),
    "SEV without a policy by QEMU's arguments": (_by_arguments("sev-guest,id=s"), SEV),
    "SEV-ES by QEMU's arguments as JSON": (
        _by_arguments('{"qom-type": "sev-guest", "id": "s", "policy": 7}'),
        ES,
    ),
    "other arguments of QEMU": (_by_arguments("memory-backend-ram,id=sev-guest"), None),
}


@pytest.mark.parametrize("case", DOMAINS)
def test_the_model_of_a_domain(case: str) -> None:
    content, model = DOMAINS[case]
    assert verify.encryption_model(f"<domain>{content}</domain>") is model


@given(st.text() | st.binary())
def test_any_text_is_a_domain_or_refused(text: str | bytes) -> None:
    with contextlib.suppress(DomainXMLError):
        verify.encryption_model(text)


@given(st.text())
def test_any_policy_leaves_it_encrypted(policy: str) -> None:
    escaped = "".join(f"&#{ord(c)};" for c in policy if c.isprintable())
    element = f"<launchSecurity type='sev'><policy>{escaped}</policy></launchSecurity>"
    assert verify.encryption_model(f"<domain>{element}</domain>") in (SEV, ES)


#: Models that libvirt runs, misc.current before and after; more of SEV, of the rest.
COUNTS = {
    "no file": ([SEV, ES], {}, {}, 0, 0),
    "the same": (
        [SEV, ES, SNP],
        {"sev": 1, "sev_es": 2},
        {"sev": 1, "sev_es": 2},
        0,
        0,
    ),
    "one more": ([SEV], {"sev": 2}, {"sev": 2}, 1, 0),
    "of the other pool": ([SEV, SNP], {"sev": 1, "sev_es": 4}, {"sev_es": 4}, 0, 3),
    "one has started": ([SEV], {"sev": 1}, {"sev": 2}, 0, 0),
    "one has ended": ([SEV], {"sev": 2}, {"sev": 1}, 0, 0),
    "less, as in a container": ([SEV, SEV], {"sev": 0}, {"sev": 0}, 0, 0),
    "another resource": ([], {"sev_xyz": 7}, {"sev_xyz": 7}, 0, 0),
}


@pytest.mark.parametrize("case", COUNTS)
def test_what_the_kernel_counts_beyond_libvirt(case: str) -> None:
    running, before, after, sev, es = COUNTS[case]
    more = reserved.guests_outside_libvirt(running, before, after)
    assert (more[SEV], more[ES]) == (sev, es)
