# SPDX-License-Identifier: Apache-2.0

"""launch_security: a value to libvirt's element and back."""

import libvirt
import pytest
from lxml import etree

from sev_driver.domain import launch_security
from sev_driver.domain.launch_security import Policies, SnpLaunchSecurity
from sev_driver.guest.launch_inputs import LaunchInputs
from sev_driver.guest.policy import DEFAULT_SNP_POLICY, SnpPolicy
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


def test_host_data_there_and_back() -> None:
    value = SnpLaunchSecurity(DEFAULT_SNP_POLICY, host_data=bytes(31) + b"x")
    element = value.to_element()
    assert element.findtext("hostData") == "A" * 41 + "Hg="
    assert launch_security.from_element(element) == value


def test_id_block_there_and_back() -> None:
    value = SnpLaunchSecurity(
        DEFAULT_SNP_POLICY, author_key=True, id_block=b"b" * 96, id_auth=b"a" * 4096
    )
    element = value.to_element()
    assert [each.tag for each in element] == ["policy", "idBlock", "idAuth"]
    assert element.get("authorKey") == "yes"
    assert launch_security.from_element(element) == value


def test_owners_policy_replaces_that_of_nova_conf() -> None:
    policy = DEFAULT_SNP_POLICY | SnpPolicy.SINGLE_SOCKET
    inputs = LaunchInputs(policy, "sev:policy of the server", b"x" * 32)
    value = Policies().launch_security(MemoryEncryptionModel.AMD_SEV_SNP, inputs)
    assert isinstance(value, SnpLaunchSecurity)
    assert (value.policy, value.host_data) == (policy, b"x" * 32)
    assert value.is_owners_policy
    value = Policies().launch_security(
        MemoryEncryptionModel.AMD_SEV_SNP, LaunchInputs(host_data=b"x" * 32)
    )
    assert value.policy == DEFAULT_SNP_POLICY and value.policy_source == "nova.conf"


@pytest.mark.parametrize(
    "xml",
    [
        '<launchSecurity type="sev-snp"><policy>0x30000</policy><hostData>x</hostData>'
        "</launchSecurity>",
        '<launchSecurity type="sev-snp"><policy>0x30000</policy>'
        "<hostData/><hostData/></launchSecurity>",
        '<launchSecurity type="sev-snp"><policy>0x30000</policy>'
        "<hostData>AA<x/>==</hostData></launchSecurity>",
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
