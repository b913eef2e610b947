# SPDX-License-Identifier: Apache-2.0

"""forbidden_devices: what an encrypted guest cannot have."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.domain import forbidden_devices
from sev_driver.domain.xml import parse
from sev_driver.exceptions import DomainXMLError, Fault, Requirement
from sev_driver.guest.requirements import GuestRequest
from sev_driver.model import MemoryEncryptionModel

REQUEST = GuestRequest(
    MemoryEncryptionModel.AMD_SEV, ("hw:mem_encryption of flavor m1.sev",)
)
BOOT = "<disk device='disk'><target dev='vda' bus='virtio'/></disk>"


def found(body: str) -> list[str]:
    xml = f"<domain><devices>{body}</devices></domain>"
    violations = forbidden_devices.check_domain(REQUEST, parse(xml))
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
    (
        "<filesystem type='mount'><driver type='virtiofs'/></filesystem>",
        "a share (virtiofs)",
    ),
    ("<disk><target dev='hda' bus='ide'/></disk>", "disk hda is on an IDE bus"),
    ("<disk device='cdrom'><target dev='hda' bus='ide'/></disk>", "disk hda"),
]


@pytest.mark.parametrize(("device", "words"), REFUSED)
def test_refused_devices(device: str, words: str) -> None:
    (text,) = found(BOOT + device)
    assert words in text
    (violation,) = forbidden_devices.check_device(REQUEST, device)
    assert violation.found == text


@pytest.mark.parametrize(("device", "words"), REFUSED)
def test_pci_devices_alone_can_be_allowed(device: str, words: str) -> None:
    request = dataclasses.replace(REQUEST, allows_pci_devices=True)
    is_pci = "type='pci'" in device or "type='hostdev'" in device
    violations = forbidden_devices.check_device(request, device)
    assert bool(violations) is not is_pci
    domain = parse(f"<domain><devices>{BOOT}{device}</devices></domain>")
    assert forbidden_devices.check_domain(request, domain) == violations


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


VHOST_USER = (
    "<interface type='vhostuser'><mac address='fa:16:3e:00:00:01'/></interface>"
)
NO_IOMMU = (
    "internal error: qemu unexpectedly closed the monitor: -device {"
    '"driver":"virtio-net-pci","iommu_platform":true}: '
    "iommu_platform=true is not supported by the device"
)


@pytest.mark.parametrize(
    "xml", [f"<domain><devices>{VHOST_USER}</devices></domain>", VHOST_USER]
)
def test_error_about_the_iommu_of_a_vhost_user_port_is_explained(xml: str) -> None:
    (violation,) = forbidden_devices.explain_error(REQUEST, xml, NO_IOMMU)
    assert violation.requirement is Requirement.VHOST_IOMMU
    assert "vhost-user port fa:16:3e:00:00:01" in violation.found
    assert "vhost-iommu-support=true" in violation.remedy
    assert len(str(violation)) <= 255


@pytest.mark.parametrize(
    ("xml", "error"),
    [
        (VHOST_USER, "qemu unexpectedly closed the monitor"),
        ("<interface type='bridge'/>", NO_IOMMU),
        ("<", NO_IOMMU),
    ],
    ids=["another-error", "another-port", "no-xml"],
)
def test_other_errors_are_left_alone(xml: str, error: str) -> None:
    assert forbidden_devices.explain_error(REQUEST, xml, error) == ()
