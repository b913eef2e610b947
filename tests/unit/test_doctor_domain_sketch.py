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

from __future__ import annotations

import pytest
from a_cloud import ON, UEFI, flavor, image
from lxml import etree

from sev_driver import guard
from sev_driver.doctor import domain_sketch
from sev_driver.model import MemoryEncryptionModel

SNP = MemoryEncryptionModel.AMD_SEV_SNP


@pytest.mark.parametrize("model", MemoryEncryptionModel)
@pytest.mark.parametrize("nova", [27, 34])
@pytest.mark.parametrize("bus", ["virtio", "scsi", "sata"])
def test_what_is_drawn_would_pass_the_guard(
    model: MemoryEncryptionModel, nova: int, bus: str
) -> None:
    properties = UEFI | {"hw_disk_bus": bus}
    sketch = domain_sketch.draw(flavor(ON), image(properties).asked, model, nova)
    guard.check(model, sketch.xml)
    root = etree.fromstring(sketch.xml)
    assert root.findtext("memory") == str(512 * 1024) and root.findtext("vcpu") == "2"
    assert root.xpath("string(devices/disk/target/@bus)") == bus
    assert (root.find("os/loader[@stateless='yes']") is not None) is (model is SNP)


def test_the_difference_tells_whose_is_what() -> None:
    asked = image(UEFI | {"hw_machine_type": "pc-q35-9.0"}).asked
    sketch = domain_sketch.draw(flavor(ON), asked, MemoryEncryptionModel.AMD_SEV, 34)
    lines = sketch.difference()
    assert '+   <launchSecurity type="sev">' in lines
    assert "-     <vmcoreinfo/>" in lines
    assert '      <type arch="x86_64" machine="pc-q35-9.0">hvm</type>' in lines
    kept = [line[2:] for line in lines if line[:1] != "+"]
    made = [line[2:] for line in lines if line[:1] != "-"]
    assert kept == sketch.novas.splitlines()
    assert made == sketch.xml.splitlines()
