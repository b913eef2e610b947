# SPDX-License-Identifier: Apache-2.0

"""guard: only a domain encrypted as asked passes."""

import base64

import owners_keys
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from sev_driver.domain import verify
from sev_driver.domain.launch_security import LaunchSecurity, Policies
from sev_driver.exceptions import DomainXMLError, EncryptionLost, PolicyTooWeak
from sev_driver.guest.launch_inputs import LaunchInputs, SignedBlock
from sev_driver.guest.policy import SevPolicy, SnpPolicy
from sev_driver.model import ForeignModel, MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
ES = MemoryEncryptionModel.AMD_SEV_ES
SNP = MemoryEncryptionModel.AMD_SEV_SNP


DEFAULT = {model: Policies().launch_security(model) for model in MemoryEncryptionModel}


def domain(*launch_security: str) -> str:
    return f"<domain><name>instance-1</name>{''.join(launch_security)}</domain>"


def launch_security(kind: str, policy: str) -> str:
    policy = f"<policy>{policy}</policy>" if policy else ""
    return f'<launchSecurity type="{kind}">{policy}</launchSecurity>'


SEV_XML = launch_security("sev", "0x0033")
ES_XML = launch_security("sev", "0x0037")
SNP_XML = launch_security("sev-snp", "0x30000")
TDX_XML = launch_security("tdx", "")


@pytest.mark.parametrize(
    ("model", "element"), [(SEV, SEV_XML), (ES, ES_XML), (SNP, SNP_XML)]
)
def test_an_encrypted_domain_passes(model: MemoryEncryptionModel, element: str) -> None:
    verify.verify_domain(DEFAULT[model], domain(element))


@pytest.mark.parametrize(
    ("model", "elements", "found"),
    [
        (SEV, [], "no launchSecurity"),
        (ES, [], "no launchSecurity"),
        (SNP, [], "no launchSecurity"),
        (SEV, [SEV_XML, SEV_XML], "more than one"),
        (SEV, [ES_XML], "AMD SEV-ES (policy 0x0037)"),
        (ES, [SEV_XML], "AMD SEV (policy 0x0033)"),
        (SEV, [SNP_XML], "AMD SEV-SNP (policy 0x00030000)"),
        (SNP, [SEV_XML], "AMD SEV (policy 0x0033)"),
        (SEV, [launch_security("sev", "")], "without a valid policy"),
        # libvirt reads 0x32 of the one, by which it could be debugged, and 0x51.
        (SEV, [launch_security("sev", "0x3<!-- -->2")], "without a valid policy"),
        (SEV, [launch_security("sev", "51")], "without a valid policy"),
        (SEV, [launch_security("tdx", "0x0033")], "'tdx'"),
    ],
)
def test_a_domain_that_is_not_encrypted_as_asked(
    model: MemoryEncryptionModel, elements: list[str], found: str
) -> None:
    with pytest.raises(EncryptionLost) as caught:
        verify.verify_domain(DEFAULT[model], domain(*elements))
    assert found in caught.value.found
    assert "instance-1" in str(caught.value)


OPEN = Policies(SevPolicy(0x32), SevPolicy(0x36), SnpPolicy(0xB0000), allow_debug=True)


@pytest.mark.parametrize(
    ("model", "element"),
    [
        (SEV, launch_security("sev", "0x32")),
        (ES, launch_security("sev", "0x36")),
        (SNP, launch_security("sev-snp", "0xb0000")),
    ],
)
def test_a_domain_open_to_debugging_needs_such_a_policy(
    model: MemoryEncryptionModel, element: str
) -> None:
    with pytest.raises(EncryptionLost, match="allows the host to debug it"):
        verify.verify_domain(DEFAULT[model], domain(element))
    verify.verify_domain(OPEN.launch_security(model), domain(element))


#: A policy for each model, as an operator may set it.
STRICT = Policies(
    SevPolicy(0x0133_003B), SevPolicy(0x0133_003F), SnpPolicy(0x0012_0137)
)


@pytest.mark.parametrize(
    ("expected", "element", "weaknesses"),
    [
        (DEFAULT[SEV], launch_security("sev", "0x1"), ("NOKS", "DOMAIN", "SEV")),
        (DEFAULT[SEV], launch_security("sev", "0x3b"), ()),
        (DEFAULT[SEV], launch_security("sev", "0x01330033"), ()),
        (DEFAULT[ES], launch_security("sev", "0x35"), ("NOKS",)),
        (STRICT.launch_security(SEV), SEV_XML, ("NOSEND", "VERSION")),
        (STRICT.launch_security(ES), launch_security("sev", "0x133003f"), ()),
        (DEFAULT[SNP], launch_security("sev-snp", "0x20000"), ()),
        (DEFAULT[SNP], launch_security("sev-snp", "0x70000"), ("MIGRATE_MA",)),
        (
            STRICT.launch_security(SNP),
            SNP_XML,
            ("SMT", "SINGLE_SOCKET", "VERSION"),
        ),
        (STRICT.launch_security(SNP), launch_security("sev-snp", "0x120200"), ()),
    ],
)
def test_a_policy_may_be_stricter_and_not_weaker(
    expected: LaunchSecurity, element: str, weaknesses: tuple[str, ...]
) -> None:
    if not weaknesses:
        verify.verify_domain(expected, domain(element))
        return
    with pytest.raises(PolicyTooWeak) as caught:
        verify.verify_domain(expected, domain(element))
    assert caught.value.weaknesses == weaknesses
    assert len(str(caught.value)) <= 255
    assert "hard reboot" in str(caught.value)


def test_launch_security_must_be_the_domains_own() -> None:
    with pytest.raises(EncryptionLost):
        verify.verify_domain(DEFAULT[SEV], domain(f"<metadata>{SEV_XML}</metadata>"))


def test_a_comment_encrypts_nothing() -> None:
    with pytest.raises(EncryptionLost):
        verify.verify_domain(DEFAULT[SEV], domain(f"<!-- {SEV_XML} -->"))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_our_own_errors(data: bytes) -> None:
    with pytest.raises((EncryptionLost, DomainXMLError)):
        verify.verify_domain(DEFAULT[SEV], data)


def test_foreign_model_has_a_launch_security_of_its_own() -> None:
    verify.verify_foreign_domain(ForeignModel.INTEL_TDX, domain(TDX_XML))


@pytest.mark.parametrize(
    ("elements", "found", "in_the_clear"),
    [
        ([], "no launchSecurity", True),
        ([SEV_XML], "launchSecurity of type 'sev'", False),
        ([TDX_XML, TDX_XML], "launchSecurity of type 'tdx and tdx'", False),
        (["<metadata>" + TDX_XML + "</metadata>"], "no launchSecurity", True),
    ],
)
def test_domain_that_is_not_encrypted_by_the_foreign_model(
    elements: list[str], found: str, in_the_clear: bool
) -> None:
    with pytest.raises(EncryptionLost, match="asked for Intel TDX") as caught:
        verify.verify_foreign_domain(ForeignModel.INTEL_TDX, domain(*elements))
    assert (caught.value.found, caught.value.in_the_clear) == (found, in_the_clear)


DATA = base64.b64encode(bytes(32)).decode()
OTHER = base64.b64encode(b"x" * 32).decode()


def snp(policy: str = "0x30000", *inputs: str) -> str:
    return domain(
        f'<launchSecurity type="sev-snp"><policy>{policy}</policy>{"".join(inputs)}'
        "</launchSecurity>"
    )


@pytest.mark.parametrize(
    ("given", "xml", "fault"),
    [
        (LaunchInputs(host_data=bytes(32)), snp(), "no hostData"),
        (
            LaunchInputs(host_data=bytes(32)),
            snp("0x30000", f"<hostData>{OTHER}</hostData>"),
            "hostData of other launch inputs",
        ),
        (
            LaunchInputs(),
            snp("0x30000", f"<hostData>{DATA}</hostData>"),
            "hostData, which the server no longer has",
        ),
        (
            LaunchInputs(SnpPolicy(0x30001), "sev:policy of the server"),
            snp("0x30002"),
            "policy 0x00030002, and not 0x00030001 of sev:policy of the server",
        ),
    ],
)
def test_domain_without_the_owners_launch_inputs(
    given: LaunchInputs, xml: str, fault: str
) -> None:
    expected = Policies().launch_security(SNP, given)
    with pytest.raises(EncryptionLost) as caught:
        verify.verify_domain(expected, xml)
    assert caught.value.found == fault
    # The owner may have given others since the launch.
    verify.verify_domain(expected, xml, runs=True)


def test_domain_with_the_owners_launch_inputs() -> None:
    given = LaunchInputs(SnpPolicy(0x30001), "sev:policy of the server", bytes(32))
    expected = Policies().launch_security(SNP, given)
    verify.verify_domain(expected, snp("0x30001", f"<hostData>{DATA}</hostData>"))


def test_owners_policy_is_named() -> None:
    given = LaunchInputs(SnpPolicy(0x30001), "sev:policy of the server")
    expected = Policies().launch_security(SNP, given)
    with pytest.raises(PolicyTooWeak) as caught:
        verify.verify_domain(expected, snp("0x30000"), runs=True)
    assert "weaker than 0x00030001 of sev:policy of the server" in str(caught.value)


def test_domain_without_the_owners_id_block() -> None:
    signed = SignedBlock(*owners_keys.sign(author=owners_keys.AUTHOR_KEY), "", "")
    expected = Policies().launch_security(SNP, LaunchInputs(signed=signed))
    with pytest.raises(EncryptionLost, match="no idBlock"):
        verify.verify_domain(expected, snp())
    good = etree.Element("domain")
    good.append(expected.to_element())
    verify.verify_element(expected, good)
    policy = good.find("launchSecurity/policy")
    assert policy is not None
    policy.text = "0x00130000"  # which is stricter, but not what was signed
    with pytest.raises(EncryptionLost, match="policy 0x00130000, and not 0x00030000"):
        verify.verify_element(expected, good)
    policy.text = "0x00030000"
    good[0].set("authorKey", "no")
    with pytest.raises(EncryptionLost, match="authorKey"):
        verify.verify_element(expected, good)
