# SPDX-License-Identifier: Apache-2.0

"""Guests that ask for encryption, through the API of real Nova services."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any

import novas
import pytest
from lxml import etree
from nova.conf import CONF
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


@pytest.fixture
def hw_machine_type() -> Iterator[Callable[[str], None]]:
    """Set ``[libvirt] hw_machine_type`` for the time of a test."""
    yield lambda value: CONF.set_override("hw_machine_type", [value], group="libvirt")
    CONF.clear_override("hw_machine_type", group="libvirt")


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
    if novas.RELEASE < 33:  # Nova names it, of two in its fixtures.
        loader = find(cloud.defined[0], "os/loader")
        assert loader.text == "/usr/share/OVMF/OVMF_CODE.fd"
        assert loader.get("secure") != "yes"
        return
    features = ET.fromstring(cloud.defined[0]).findall("os/firmware/feature")
    assert {f.get("name"): f.get("enabled") for f in features} == {
        "secure-boot": "no",
        "enrolled-keys": "no",
    }
