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

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.doctor import running_domains
from sev_driver.exceptions import DetectionError
from sev_driver.model import MemoryEncryptionModel

DOMAINS = pathlib.Path(__file__).parents[1] / "data" / "domain"
NOVAS = (DOMAINS / "virtio-blk.in.xml").read_text()
ANOTHER = """
<domain type='kvm' id='3'><name>db</name><uuid>b0f1</uuid><memory unit='MiB'>64</memory>
  <metadata><x:instance xmlns:x='http://example.org/xmlns/libvirt/nova/1.1'/></metadata>
  <devices><graphics type='vnc' passwd='hunter2'/></devices>
  <launchSecurity type='sev'><policy>0x37</policy><session>AAAA</session>
  </launchSecurity>
</domain>"""


def test_what_is_kept_tells_whose_a_guest_is_and_how_encrypted() -> None:
    kept = running_domains.sift([NOVAS, ANOTHER])
    novas, another = running_domains.parse(kept)
    assert (novas.novas, novas.uuid[:8]) == (True, "6e475425")
    assert (another.novas, another.name, another.memory_kib) == (False, "db", 65536)
    assert another.model is MemoryEncryptionModel.AMD_SEV_ES


def test_nothing_else_is_kept() -> None:
    kept = running_domains.sift([NOVAS, ANOTHER])
    for secret in (b"hunter2", b"AAAA", b"admin", b"m1.sev", b"hw:mem_encryption"):
        assert secret not in kept


@given(st.binary())
def test_what_was_not_kept_by_us_is_refused(document: bytes) -> None:
    try:
        running_domains.parse(document)
    except DetectionError:
        return


def test_what_is_no_domain_is_left_out() -> None:
    assert running_domains.parse(running_domains.sift(["", "<"])) == ()
    with pytest.raises(DetectionError):
        running_domains.parse(b"")
