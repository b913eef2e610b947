# SPDX-License-Identifier: Apache-2.0

"""launch_security: a value to libvirt's element and back."""

import libvirt
import pytest
from lxml import etree

from sev_driver.domain import launch_security
from sev_driver.domain.launch_security import Policies
from sev_driver.model import MemoryEncryptionModel

XML = {
    MemoryEncryptionModel.AMD_SEV: (
        '<launchSecurity type="sev"><policy>0x0033</policy></launchSecurity>'
    ),
    MemoryEncryptionModel.AMD_SEV_ES: (
        '<launchSecurity type="sev"><policy>0x0037</policy></launchSecurity>'
    ),
    MemoryEncryptionModel.AMD_SEV_SNP: (
        '<launchSecurity type="sev-snp" authorKey="no" vcek="yes" kernelHashes="no">'
        "<policy>0x00030000</policy></launchSecurity>"
    ),
}


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_there_and_back(model: MemoryEncryptionModel) -> None:
    value = Policies().launch_security(model)
    element = value.to_element()
    assert etree.tostring(element, encoding="unicode") == XML[model]
    assert launch_security.from_element(element) == value
    assert value.model is model


@pytest.mark.parametrize(
    "xml",
    [
        '<launchSecurity type="sev-snp"><policy>0x10000</policy></launchSecurity>',
        '<launchSecurity type="tdx"><policy>0x33</policy></launchSecurity>',
        '<launchSecurity type="sev"/>',
        '<launchSecurity type="sev"><policy>no</policy></launchSecurity>',
        "<launchSecurity/>",
    ],
)
def test_another_element_is_refused(xml: str) -> None:
    with pytest.raises(ValueError):
        launch_security.from_element(etree.fromstring(xml))


def as_libvirt_reads(policy: str) -> int | None:
    """Return what the real libvirt takes for the policy; None where it refuses."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open("test:///default")
    try:
        domain = connection.defineXML(
            "<domain type='test'><name>a</name><memory>1024</memory>"
            "<os><type>hvm</type></os><launchSecurity type='sev'><cbitpos>47</cbitpos>"
            f"<reducedPhysBits>1</reducedPhysBits>{policy}</launchSecurity></domain>"
        )
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
        return int(etree.fromstring(xml).findtext("launchSecurity/policy") or "", 16)
    except libvirt.libvirtError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("policy", "number"),
    [
        ("<policy>0x0033</policy>", 0x33),
        ("<policy>0X33</policy>", 0x33),
        # Not decimal, octal or binary.
        ("<policy>51</policy>", 0x51),
        ("<policy>063</policy>", 0x63),
        ("<policy>0b11</policy>", 0xB11),
        # What libvirt reads from more than one place, or not at all.
        ("<policy>3<!-- -->2</policy>", None),
        ("<policy>0x3<a/>3</policy>", None),
        ("<policy>0x33</policy><policy>0x32</policy>", None),
        ("<policy>0x3_3</policy>", None),
        ("<policy> 0x33 </policy>", None),
        ("<policy>-1</policy>", None),
        ("<policy>\u0663</policy>", None),
        ("<policy/>", None),
        ("", None),
    ],
)
def test_a_policy_is_read_as_libvirt_reads_it_or_not(
    policy: str, number: int | None
) -> None:
    element = etree.fromstring(f"<launchSecurity type='sev'>{policy}</launchSecurity>")
    if number is None:
        with pytest.raises(ValueError, match="without one policy"):
            launch_security.policy_of(element)
    else:
        assert launch_security.policy_of(element) == as_libvirt_reads(policy) == number
