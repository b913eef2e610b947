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

"""What happens to an encrypted guest after its creation, and the guard."""

import pathlib
import xml.etree.ElementTree as ET

import novas
import pytest
from lxml import etree
from nova import context as nova_context
from nova.conf import CONF
from nova.tests.fixtures import libvirt as fakelibvirt
from nova_cloud import (
    ASKED_BY_FLAVOR,
    ASKED_BY_IMAGE,
    ASKERS,
    UEFI,
    ApiError,
    Cloud,
    assert_encrypted,
    find,
    instance_of,
)

from sev_driver.audit import Audit


def test_a_hard_reboot_keeps_the_encryption(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.defined.clear()
    cloud.hard_reboot(server)
    (xml,) = cloud.defined
    assert_encrypted(xml)


def explicit_firmware(folder: pathlib.Path, secure: str) -> str:
    """``<os>``'s children, as libvirt has them when it has selected a firmware."""
    loader, template = folder / "OVMF_CODE.fd", folder / "OVMF_VARS.fd"
    for file in (loader, template):
        file.touch()
    return (
        f"<firmware><feature enabled='no' name='secure-boot'/></firmware>"
        f"<loader readonly='yes'{secure} type='pflash'>{loader}</loader>"
        f"<nvram template='{template}'>/var/lib/libvirt/qemu/nvram/guest.fd</nvram>"
    )


@pytest.mark.skipif(
    novas.RELEASE < 33,
    reason="before Nova 33 a hard reboot selects anew, as a first start does",
)
@pytest.mark.parametrize(
    "secure", ["", " secure='no'"], ids=["as libvirt 9", "as libvirt 10"]
)
def test_a_hard_reboot_keeps_the_firmware_that_libvirt_selected(
    secure: str,
    cloud: Cloud,
    schema: etree.RelaxNG,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    firmware = explicit_firmware(tmp_path, secure)
    original = fakelibvirt.Domain.XMLDesc
    monkeypatch.setattr(
        fakelibvirt.Domain,
        "XMLDesc",
        lambda domain, flags: original(domain, flags).replace(
            "</os>", f"{firmware}</os>"
        ),
    )
    cloud.defined.clear()
    cloud.hard_reboot(server)
    (xml,) = cloud.defined
    assert_encrypted(xml)
    assert find(xml, "os/loader").text == str(tmp_path / "OVMF_CODE.fd")
    assert find(xml, "os").get("firmware") is None
    schema.assertValid(etree.fromstring(xml))


@pytest.mark.parametrize("asker", ASKERS)
def test_a_rescue_with_a_plain_image_keeps_the_encryption(
    asker: str, cloud: Cloud
) -> None:
    server = cloud.boot(*ASKERS[asker], config_drive=True)
    cloud.defined.clear()
    rescue = {"rescue_image_ref": cloud.image("a-plain-rescue-image")}
    cloud.act(server, {"rescue": rescue}, "RESCUE")
    (xml,) = cloud.defined
    assert_encrypted(xml)
    buses = {t.get("bus") for t in ET.fromstring(xml).findall("devices/disk/target")}
    assert "ide" not in buses
    cloud.defined.clear()
    cloud.act(server, {"unrescue": None}, "ACTIVE")
    assert find(cloud.defined[0], "launchSecurity").get("type") == "sev"


def test_a_rebuild_keeps_the_encryption(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.defined.clear()
    cloud._rebuild_server(server, cloud.image("rebuilt", **UEFI))
    assert_encrypted(cloud.defined[0])


def test_a_refused_rebuild_leaves_the_guest_as_it_was(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.defined.clear()
    unfit = cloud.image("unfit", **UEFI, hw_disk_bus="ide")

    cloud.attempt(server, {"rebuild": {"imageRef": unfit}}, "ACTIVE")

    assert not cloud.defined
    assert "hw_disk_bus of the image is ide" in cloud.log
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1


def test_a_plain_guest_rebuilt_to_ask_without_a_slot_goes_on(cloud: Cloud) -> None:
    """Nova asks Placement for nothing more in a rebuild on the same host."""
    server = cloud.boot(UEFI | {"hw_machine_type": "q35"})
    cloud.defined.clear()
    asking = cloud.image("asking", **ASKED_BY_IMAGE, hw_machine_type="q35")

    cloud.attempt(server, {"rebuild": {"imageRef": asking}}, "ACTIVE")

    assert not cloud.defined
    assert "Placement gave it no slot" in cloud.log
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1
    # It has the new image, though it runs by the old one.
    audit = Audit(cloud.driver._host, stop=False)
    audit.run(CONF.host)
    assert audit.failures == 1
    cloud._delete_server(server)


def test_suspend_is_refused_and_changes_nothing(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    with pytest.raises(ApiError) as refusal:
        cloud.api.post_server_action(server["id"], {"suspend": None})
    assert refusal.value.response.status_code in (400, 409)
    assert cloud.api.get_server(server["id"])["status"] == "ACTIVE"


# The guard


def without_launch_security(xml: str) -> str:
    root = ET.fromstring(xml)
    root.remove(root.find("launchSecurity"))  # type: ignore[arg-type]
    return ET.tostring(root, encoding="unicode")


def test_a_domain_without_launch_security_is_refused_before_libvirt(
    cloud: Cloud,
) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    xml = without_launch_security(cloud.defined.pop())
    with pytest.raises(Exception, match="no launchSecurity"):
        cloud.driver._create_guest(
            nova_context.get_admin_context(), xml, instance_of(server)
        )
    assert not cloud.defined


def test_an_unrescue_from_tampered_xml_starts_nothing(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.act(server, {"rescue": None}, "RESCUE")
    saved = pathlib.Path(CONF.instances_path) / server["id"] / "unrescue.xml"
    saved.write_text("<domain><name>guest</name></domain>")
    cloud.defined.clear()
    cloud.attempt(server, {"unrescue": None}, "ERROR")
    assert not cloud.defined
    assert "no launchSecurity" in cloud.fault(server)
