# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from a_cloud import ON, UEFI, flavor, image
from lxml import etree

from sev_driver.doctor.cloud import domain_preview
from sev_driver.domain import verify
from sev_driver.domain.launch_security import Policies
from sev_driver.guest.requirements import GuestRequest
from sev_driver.model import MemoryEncryptionModel

SNP = MemoryEncryptionModel.AMD_SEV_SNP


@pytest.mark.parametrize("model", MemoryEncryptionModel)
@pytest.mark.parametrize("nova", [27, 34])
@pytest.mark.parametrize("bus", ["virtio", "scsi", "sata"])
def test_what_is_drawn_would_pass_the_guard(
    model: MemoryEncryptionModel, nova: int, bus: str
) -> None:
    properties = UEFI | {"hw_disk_bus": bus}
    asked = GuestRequest(model, ("a flavor",))
    sketch = domain_preview.draw(flavor(ON), image(properties).asked, asked, nova)
    verify.verify_domain(Policies().launch_security(model), sketch.xml)
    root = etree.fromstring(sketch.xml)
    assert root.findtext("memory") == str(512 * 1024) and root.findtext("vcpu") == "2"
    assert root.xpath("string(devices/disk/target/@bus)") == bus
    assert (root.find("os/loader[@stateless='yes']") is not None) is (model is SNP)


def test_the_difference_tells_whose_is_what() -> None:
    picture = image(UEFI | {"hw_machine_type": "pc-q35-9.0"}).asked
    asked = GuestRequest(MemoryEncryptionModel.AMD_SEV, ("a flavor",))
    sketch = domain_preview.draw(flavor(ON), picture, asked, 34)
    lines = sketch.difference()
    assert '+   <launchSecurity type="sev">' in lines
    assert "-     <vmcoreinfo/>" in lines
    assert '      <type arch="x86_64" machine="pc-q35-9.0">hvm</type>' in lines
    kept = [line[2:] for line in lines if line[:1] != "+"]
    made = [line[2:] for line in lines if line[:1] != "-"]
    assert kept == sketch.novas.splitlines()
    assert made == sketch.xml.splitlines()


@pytest.mark.parametrize(
    ("model", "value", "enabled"),
    [
        (MemoryEncryptionModel.AMD_SEV, "required", "yes"),
        (MemoryEncryptionModel.AMD_SEV, "disabled", "no"),
        (MemoryEncryptionModel.AMD_SEV_ES, "optional", "no"),
    ],
)
def test_secure_boot_is_drawn_as_it_would_be_made(
    model: MemoryEncryptionModel, value: str, enabled: str
) -> None:
    picture = image(UEFI | {"os_secure_boot": value}).asked
    asked = GuestRequest(model, ("a flavor",))
    xml = domain_preview.draw(flavor(ON), picture, asked, 34).xml
    feature = etree.fromstring(xml).find("os/firmware/feature[@name='secure-boot']")
    assert feature is not None and feature.get("enabled") == enabled
