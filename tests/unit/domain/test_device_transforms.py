# SPDX-License-Identifier: Apache-2.0
"""transforms: option ROMs off, and the IOMMU for each virtio device."""

import pytest
from lxml import etree

from sev_driver.domain import transforms
from sev_driver.domain.launch_security import Policies
from sev_driver.exceptions import DomainXMLError
from sev_driver.model import MemoryEncryptionModel

LAUNCH = Policies().launch_security(MemoryEncryptionModel.AMD_SEV)
PLAN = transforms.EncryptionPlan(LAUNCH)


def device(xml: str) -> etree._Element:
    """Return the device as it is attached, and make sure a new guest has the same."""
    element = etree.fromstring(xml)
    transforms.complete_device(element)
    domain = etree.fromstring(f"<domain><os/><devices>{xml}</devices></domain>")
    transforms.apply(PLAN, domain)
    assert etree.tostring(domain.find("devices")[0]) == etree.tostring(element)
    return element


@pytest.mark.parametrize(
    "xml",
    [
        "<disk><target dev='vda' bus='virtio'/></disk>",
        "<disk><driver name='qemu' type='qcow2'/><target bus='virtio'/></disk>",
        "<interface><model type='virtio'/></interface>",
        "<interface><driver queues='2'/><model type='virtio'/></interface>",
        "<controller type='scsi' model='virtio-scsi'/>",
        "<controller type='virtio-serial'/>",
        "<rng model='virtio'/>",
        "<memballoon model='virtio'/>",
        "<video><model type='virtio'/></video>",
        "<input bus='virtio'/>",
        "<vsock model='virtio'/>",
        "<sound model='virtio'/>",
        "<interface><driver packed='on'/><model type='virtio'/></interface>",
        "<disk><driver iommu='off'/><target bus='virtio'/></disk>",
    ],
)
def test_virtio_devices_use_the_iommu(xml: str) -> None:
    before = etree.fromstring(xml).find("driver")
    driver = device(xml).find("driver")
    assert driver.get("iommu") == "on"
    if before is not None:
        before.set("iommu", "on")
        assert dict(before.attrib) == dict(driver.attrib)


@pytest.mark.parametrize(
    "xml",
    [
        "<disk><target bus='sata'/></disk>",
        "<disk><target bus='scsi'/></disk>",
        "<disk><target bus='usb'/></disk>",
        "<interface><model type='e1000e'/></interface>",
        "<interface><model type='e1000'/></interface>",
        "<interface><model type='rtl8139'/></interface>",
        "<interface><model type='ne2k_pci'/></interface>",
        "<interface><model type='vmxnet3'/></interface>",
        "<controller type='usb' model='qemu-xhci'/>",
        "<redirdev bus='usb' type='spicevmc'/>",
        "<serial type='pty'><target port='1'/></serial>",
        "<sound model='ich9'/>",
        "<watchdog model='itco'/>",
        "<video><model type='qxl'/></video>",
        "<video><model type='bochs'/></video>",
        "<controller type='pci' model='pcie-root'/>",
        "<controller type='usb'/>",
        "<memballoon model='none'/>",
        "<video><model type='cirrus'/></video>",
        "<input bus='usb'/>",
        "<hostdev mode='subsystem'/>",
        "<graphics type='vnc'/>",
    ],
)
def test_other_devices_do_not(xml: str) -> None:
    assert device(xml).find("driver") is None


@pytest.mark.parametrize(
    "rom", ["", "<rom bar='on' file='/x.rom'/>", "<rom enabled='yes'/>"]
)
def test_option_roms_are_off(rom: str) -> None:
    interface = device(f"<interface><model type='e1000e'/>{rom}</interface>")
    assert dict(interface.find("rom").attrib) == {"enabled": "no"}


def test_a_device_to_attach_is_completed() -> None:
    xml = "<interface type='bridge'><model type='virtio'/></interface>"
    once = transforms.complete_device_xml(xml)
    interface = etree.fromstring(once)
    assert interface.find("driver").get("iommu") == "on"
    assert interface.find("rom").get("enabled") == "no"
    assert transforms.complete_device_xml(once) == once


def test_a_device_that_is_no_xml_is_refused() -> None:
    with pytest.raises(DomainXMLError):
        transforms.complete_device_xml("<disk")
