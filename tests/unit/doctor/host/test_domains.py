# SPDX-License-Identifier: Apache-2.0

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.doctor.host import domains
from sev_driver.exceptions import DetectionError
from sev_driver.model import MemoryEncryptionModel

DOMAINS = pathlib.Path(__file__).parents[3] / "data" / "domain"
NOVAS = (DOMAINS / "virtio-blk.in.xml").read_text()
ANOTHER = """
<domain type='kvm' id='3'><name>db</name><uuid>b0f1</uuid><memory unit='MiB'>64</memory>
  <metadata><x:instance xmlns:x='http://example.org/xmlns/libvirt/nova/1.1'/></metadata>
  <devices><graphics type='vnc' passwd='hunter2'/></devices>
  <launchSecurity type='sev'><policy>0x37</policy><session>AAAA</session>
  </launchSecurity>
</domain>"""


def test_what_is_kept_tells_whose_a_guest_is_and_how_encrypted() -> None:
    kept = domains.sift([NOVAS, ANOTHER])
    novas, another = domains.parse(kept)
    assert (novas.novas, novas.uuid[:8]) == (True, "6e475425")
    assert (another.novas, another.name, another.memory_kib) == (False, "db", 65536)
    assert another.model is MemoryEncryptionModel.AMD_SEV_ES


def test_pci_devices_of_the_host_are_counted_and_no_more() -> None:
    devices = (
        "<hostdev type='pci'><source><address bus='0x21'/></source></hostdev>"
        "<hostdev type='mdev'/><interface type='hostdev'/><interface type='bridge'/>"
    )
    kept = domains.sift([ANOTHER.replace("<devices>", f"<devices>{devices}"), NOVAS])
    assert [domain.pci_devices for domain in domains.parse(kept)] == [2, 0]
    assert b"0x21" not in kept


def test_nothing_else_is_kept() -> None:
    kept = domains.sift([NOVAS, ANOTHER])
    for secret in (b"hunter2", b"AAAA", b"admin", b"m1.sev", b"hw:mem_encryption"):
        assert secret not in kept


@given(st.binary())
def test_what_was_not_kept_by_us_is_refused(document: bytes) -> None:
    try:
        domains.parse(document)
    except DetectionError:
        return


def test_what_is_no_domain_is_left_out() -> None:
    assert domains.parse(domains.sift(["", "<"])) == ()
    with pytest.raises(DetectionError):
        domains.parse(b"")
