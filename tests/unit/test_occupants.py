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


import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver import occupants
from sev_driver.exceptions import DomainXMLError
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
ES = MemoryEncryptionModel.AMD_SEV_ES
SNP = MemoryEncryptionModel.AMD_SEV_SNP

#: The content of <domain>; the model whose slot it holds.
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
}


@pytest.mark.parametrize("case", DOMAINS)
def test_the_model_of_a_domain(case: str) -> None:
    content, model = DOMAINS[case]
    assert occupants.model_of(f"<domain>{content}</domain>") is model


@given(st.text() | st.binary())
def test_any_text_is_a_domain_or_refused(text: str | bytes) -> None:
    with contextlib.suppress(DomainXMLError):
        occupants.model_of(text)


@given(st.text())
def test_any_policy_leaves_it_encrypted(policy: str) -> None:
    escaped = "".join(f"&#{ord(c)};" for c in policy if c.isprintable())
    element = f"<launchSecurity type='sev'><policy>{escaped}</policy></launchSecurity>"
    assert occupants.model_of(f"<domain>{element}</domain>") in (SEV, ES)


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
    more = occupants.unseen(running, before, after)
    assert (more[SEV], more[ES]) == (sev, es)
