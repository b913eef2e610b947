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

"""Guests that ask for encryption, through the API of real Nova services."""

import pathlib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import with_driver
from lxml import etree
from nova import context as nova_context
from nova import objects
from nova.conf import CONF
from nova.tests.fixtures import libvirt as fakelibvirt
from with_driver import (
    ASKED_BY_FLAVOR,
    ASKED_BY_IMAGE,
    UEFI,
    ApiError,
    Cloud,
    assert_encrypted,
    find,
)

SCHEMA = pathlib.Path("/usr/share/libvirt/schemas/domain.rng")


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with with_driver.cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(shared: Cloud) -> Cloud:
    shared.defined.clear()
    shared.attached.clear()
    return shared


@pytest.fixture(scope="module")
def schema() -> etree.RelaxNG:
    if not SCHEMA.exists():
        pytest.skip(f"no {SCHEMA}: libvirt is not installed")
    return etree.RelaxNG(etree.parse(SCHEMA))


@pytest.fixture
def hw_machine_type() -> Iterator[Callable[[str], None]]:
    """Set ``[libvirt] hw_machine_type`` for the time of a test."""
    yield lambda value: CONF.set_override("hw_machine_type", [value], group="libvirt")
    CONF.clear_override("hw_machine_type", group="libvirt")


def instance_of(server: dict[str, Any]) -> objects.Instance:
    return objects.Instance.get_by_uuid(
        nova_context.get_admin_context(), server["id"], ["system_metadata", "flavor"]
    )


ASKERS = {
    "flavor": (UEFI, ASKED_BY_FLAVOR),
    "image": (ASKED_BY_IMAGE, {}),
    "both": (ASKED_BY_IMAGE, ASKED_BY_FLAVOR),
}


# Creation


@pytest.mark.parametrize("asker", ASKERS)
def test_a_guest_is_encrypted_when_asked_by(asker: str, cloud: Cloud) -> None:
    image, flavor = ASKERS[asker]
    used = cloud.slots_used()
    server = cloud.boot(image, flavor)
    (xml,) = cloud.defined
    assert_encrypted(xml)
    assert cloud.slots_used() == used + 1
    cloud._delete_server(server)
    assert cloud.slots_used() == used


def test_a_guest_that_names_no_machine_type_gets_and_keeps_q35(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, config_drive=True)
    recorded = instance_of(server).system_metadata["image_hw_machine_type"]
    assert recorded == "q35"
    (xml,) = cloud.defined
    assert_encrypted(xml)
    buses = {
        disk.get("device"): disk.find("target").get("bus")  # type: ignore[union-attr]
        for disk in ET.fromstring(xml).findall("devices/disk")
    }
    # A q35 guest has no IDE, where Nova puts a CD-ROM of a pc guest.
    assert buses == {"disk": "virtio", "cdrom": "sata"}


def test_a_plain_guest_beside_it_keeps_novas_default_machine(cloud: Cloud) -> None:
    server = cloud.boot(UEFI)
    recorded = instance_of(server).system_metadata["image_hw_machine_type"]
    assert recorded == "pc"
    assert ET.fromstring(cloud.defined[0]).find("launchSecurity") is None


def test_a_versioned_q35_is_q35_enough(cloud: Cloud) -> None:
    cloud.boot(UEFI | {"hw_machine_type": "pc-q35-2.11"}, ASKED_BY_FLAVOR)
    assert_encrypted(cloud.defined[0])


def test_a_q35_by_option_serves_as_well(
    cloud: Cloud, hw_machine_type: Callable[[str], None]
) -> None:
    hw_machine_type("x86_64=pc-q35-2.11")
    cloud.boot(UEFI, ASKED_BY_FLAVOR)
    assert find(cloud.defined[0], "os/type").get("machine") == "pc-q35-2.11"


REFUSED_BY_API = {
    "flavor-asks-image-denies": (
        UEFI | {"hw_mem_encryption": "false"},
        ASKED_BY_FLAVOR,
        "conflicting",
    ),
    "image-asks-flavor-denies": (
        ASKED_BY_IMAGE,
        {"hw:mem_encryption": "false"},
        "conflicting",
    ),
    "pc-by-image": (UEFI | {"hw_machine_type": "pc"}, ASKED_BY_FLAVOR, "q35"),
    "bios": ({}, ASKED_BY_FLAVOR, "hw_firmware_type"),
}


@pytest.mark.parametrize("case", REFUSED_BY_API)
def test_the_api_refuses(case: str, cloud: Cloud) -> None:
    image, flavor, word = REFUSED_BY_API[case]
    with pytest.raises(ApiError) as refusal:
        cloud.boot(image, flavor)
    assert refusal.value.response.status_code == 400
    assert word in str(refusal.value)
    assert not cloud.defined


def test_a_machine_type_by_option_is_named_in_the_fault_at_once(
    cloud: Cloud, hw_machine_type: Callable[[str], None]
) -> None:
    hw_machine_type("x86_64=pc")
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, state="ERROR")
    fault = cloud.fault(server)
    assert "[libvirt] hw_machine_type" in fault
    assert "hw:mem_encryption" in fault
    assert "hw_machine_type=q35 on the image" in fault
    assert "Exceeded maximum number of retries" not in fault
    assert not cloud.defined


# The XML


XML_CASES = {
    "plain-image": {},
    "config-drive": {"config_drive": True},
    "scsi": {"image": {"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi"}},
    "agent-rng-video": {
        "image": {
            "hw_qemu_guest_agent": "yes",
            "hw_rng_model": "virtio",
            "hw_video_model": "virtio",
        },
        "flavor": {"hw_rng:allowed": "true"},
    },
    "secure-boot-disabled": {"image": {"os_secure_boot": "disabled"}},
    "port": {"networks": "auto"},
}


@pytest.mark.parametrize("case", XML_CASES)
def test_the_domain_is_valid_by_libvirts_own_schema(
    case: str, cloud: Cloud, schema: etree.RelaxNG
) -> None:
    arguments: dict[str, Any] = dict(XML_CASES[case])
    image = UEFI | arguments.pop("image", {})
    flavor = ASKED_BY_FLAVOR | arguments.pop("flavor", {})
    server = cloud.boot(image, flavor, **arguments)
    (xml,) = cloud.defined
    assert_encrypted(xml)
    schema.assertValid(etree.fromstring(xml))
    cloud._delete_server(server)


def test_every_virtio_device_goes_through_the_iommu(cloud: Cloud) -> None:
    arguments: dict[str, Any] = dict(XML_CASES["agent-rng-video"])
    cloud.boot(UEFI | arguments["image"], ASKED_BY_FLAVOR | arguments["flavor"])
    devices = find(cloud.defined[0], "devices")
    on = {d.tag for d in devices if d.find("driver[@iommu='on']") is not None}
    assert {"disk", "rng", "video", "memballoon", "controller"} <= on


def test_the_firmware_is_one_without_secure_boot(cloud: Cloud) -> None:
    cloud.boot(UEFI, ASKED_BY_FLAVOR)
    features = ET.fromstring(cloud.defined[0]).findall("os/firmware/feature")
    assert {f.get("name"): f.get("enabled") for f in features} == {
        "secure-boot": "no",
        "enrolled-keys": "no",
    }


# The life of a guest


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
