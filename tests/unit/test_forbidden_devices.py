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

"""forbidden_devices: what an encrypted guest cannot have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver import forbidden_devices
from sev_driver.domain_xml import parse
from sev_driver.exceptions import DomainXMLError
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import Fault, GuestRequest

REQUEST = GuestRequest(
    MemoryEncryptionModel.AMD_SEV, ("hw:mem_encryption of flavor m1.sev",)
)
BOOT = "<disk device='disk'><target dev='vda' bus='virtio'/></disk>"


def found(body: str) -> list[str]:
    xml = f"<domain><devices>{body}</devices></domain>"
    violations = forbidden_devices.check(REQUEST, parse(xml))
    assert all(v.fault is Fault.REQUEST for v in violations)
    return [v.found for v in violations]


REFUSED = [
    ("<hostdev mode='subsystem' type='pci'/>", "a PCI device of the host"),
    ("<hostdev mode='subsystem' type='mdev'/>", "mediated device"),
    (
        "<interface type='hostdev'><mac address='fa:16:3e:00:00:01'/></interface>",
        "network port fa:16:3e:00:00:01 is a PCI device",
    ),
    ("<interface type='hostdev'/>", "(SR-IOV)"),
    ("<disk><target dev='hda' bus='ide'/></disk>", "disk hda is on an IDE bus"),
    ("<disk device='cdrom'><target dev='hda' bus='ide'/></disk>", "disk hda"),
]


@pytest.mark.parametrize(("device", "words"), REFUSED)
def test_refused_devices(device: str, words: str) -> None:
    (text,) = found(BOOT + device)
    assert words in text
    (violation,) = forbidden_devices.check_device(REQUEST, device)
    assert violation.found == text


@pytest.mark.parametrize(
    "device",
    [
        "<disk><target dev='vdb' bus='virtio'/></disk>",
        "<disk><target dev='sdb' bus='scsi'/></disk>",
        "<disk><target dev='sda' bus='usb'/></disk>",
        "<disk device='cdrom'><target dev='sda' bus='sata'/></disk>",
        "<interface type='bridge'/>",
        "<interface type='vhostuser'/>",
        "<hostdev mode='subsystem' type='usb'/>",
        "<graphics type='vnc'/>",
        "<graphics type='spice'/>",
        "<serial type='tcp'/>",
    ],
)
def test_devices_that_may_be(device: str) -> None:
    assert found(BOOT + device) == []
    assert forbidden_devices.check_device(REQUEST, device) == ()


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ("<disk><target dev='vda' bus='virtio'/></disk>", False),
        ("<disk><target dev='sda' bus='sata'/></disk>", False),
        (
            "<disk><target dev='sda' bus='scsi'/></disk>"
            "<controller type='scsi' model='virtio-scsi'/>",
            False,
        ),
        (
            "<disk device='cdrom'><target dev='sda' bus='sata'/></disk>"
            "<disk><target dev='vda' bus='virtio'/></disk>",
            False,
        ),
        ("", False),
        ("<disk><target dev='sda' bus='scsi'/></disk>", True),
        (
            "<disk><target dev='sda' bus='scsi'/></disk>"
            "<controller type='scsi' model='lsilogic'/>",
            True,
        ),
        ("<disk><target dev='sda' bus='usb'/></disk>", True),
        ("<disk><target dev='fda' bus='fdc'/></disk>", True),
        ("<disk/>", True),
    ],
)
def test_the_boot_disk(body: str, refused: bool) -> None:
    assert bool(found(body)) is refused


def test_a_boot_disk_on_ide_is_told_once() -> None:
    assert len(found("<disk><target dev='hda' bus='ide'/></disk>")) == 1


@given(st.text(max_size=100))
def test_any_text_is_judged_or_refused(text: str) -> None:
    try:
        forbidden_devices.check_device(REQUEST, text)
    except DomainXMLError:
        return
