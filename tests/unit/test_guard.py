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

"""guard: only a domain encrypted as asked passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver import guard
from sev_driver.exceptions import DomainXMLError, EncryptionLost
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
ES = MemoryEncryptionModel.AMD_SEV_ES
SNP = MemoryEncryptionModel.AMD_SEV_SNP


def domain(*launch_security: str) -> str:
    return f"<domain><name>instance-1</name>{''.join(launch_security)}</domain>"


def launch_security(kind: str, policy: str) -> str:
    policy = f"<policy>{policy}</policy>" if policy else ""
    return f'<launchSecurity type="{kind}">{policy}</launchSecurity>'


SEV_XML = launch_security("sev", "0x0033")
ES_XML = launch_security("sev", "0x0037")
SNP_XML = launch_security("sev-snp", "0x30000")


@pytest.mark.parametrize(
    ("model", "element"), [(SEV, SEV_XML), (ES, ES_XML), (SNP, SNP_XML)]
)
def test_an_encrypted_domain_passes(model: MemoryEncryptionModel, element: str) -> None:
    guard.check(model, domain(element))


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
        guard.check(model, domain(*elements))
    assert found in caught.value.found
    assert "instance-1" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "element"),
    [
        (SEV, launch_security("sev", "0x32")),
        (ES, launch_security("sev", "0x36")),
        (SNP, launch_security("sev-snp", "0xb0000")),
    ],
)
def test_a_domain_open_to_debugging_needs_leave(
    model: MemoryEncryptionModel, element: str
) -> None:
    with pytest.raises(EncryptionLost, match="may debug it"):
        guard.check(model, domain(element))
    guard.check(model, domain(element), allow_debug=True)


def test_launch_security_must_be_the_domains_own() -> None:
    with pytest.raises(EncryptionLost):
        guard.check(SEV, domain(f"<metadata>{SEV_XML}</metadata>"))


def test_a_comment_encrypts_nothing() -> None:
    with pytest.raises(EncryptionLost):
        guard.check(SEV, domain(f"<!-- {SEV_XML} -->"))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_our_own_errors(data: bytes) -> None:
    with pytest.raises((EncryptionLost, DomainXMLError)):
        guard.check(SEV, data)
