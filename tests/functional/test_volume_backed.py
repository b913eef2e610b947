# SPDX-License-Identifier: Apache-2.0

"""Servers that boot from a volume: their image is the one that the volume was made of.

Nova stores its properties with the server, and no ``image_ref``.
"""

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from nova_cloud import (
    ASKED_BY_IMAGE,
    ASKERS,
    UEFI,
    Cloud,
    assert_encrypted,
    boot_volume,
    find,
    instance_of,
)

STABLE = {"hw_rescue_device": "disk", "hw_rescue_bus": "virtio"}


def boot(cloud: Cloud, asker: str, **body: Any) -> dict[str, Any]:
    """Create an encrypted server that boots from a volume."""
    properties, specs = ASKERS[asker]
    image = cloud.image(f"volume-{asker}", **properties)
    flavor = cloud.flavor(f"volume-{asker}", specs)
    volume = boot_volume(cloud.volume(image))
    return cloud.server(image, flavor, **{**body, **volume})


def disks(xml: str) -> list[tuple[str, str]]:
    """Return the names and buses of a domain's disks."""
    targets = ET.fromstring(xml).findall("devices/disk/target")
    return sorted((str(t.get("dev")), str(t.get("bus"))) for t in targets)


def record(server: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return what Nova has stored of the server's image."""
    instance = instance_of(server)
    return instance.image_ref, dict(instance.system_metadata)


@pytest.mark.parametrize("asker", ["flavor", "image"])
def test_every_start_is_encrypted(asker: str, cloud: Cloud) -> None:
    server = boot(cloud, asker, config_drive=True)
    assert_encrypted(cloud.defined.pop())
    assert not instance_of(server).image_ref
    cloud.hard_reboot(server)
    assert_encrypted(cloud.defined.pop())
    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    cloud.act(server, {"os-start": None}, "ACTIVE")
    assert_encrypted(cloud.defined.pop())
    cloud.act(server, {"shelve": None}, "SHELVED_OFFLOADED")
    cloud.act(server, {"unshelve": None}, "ACTIVE")
    assert_encrypted(cloud.defined.pop())
    cloud._delete_server(server)


@pytest.mark.parametrize(
    ("asker", "properties"),
    [
        ("flavor", STABLE),
        ("image", STABLE | {"hw_machine_type": "pc", "hw_mem_encryption": "false"}),
    ],
    ids=["stable", "unfit"],
)
def test_stable_rescue_is_encrypted_and_has_every_disk(
    asker: str, properties: dict[str, str], cloud: Cloud
) -> None:
    server = boot(cloud, asker, config_drive=True)
    (before,) = cloud.defined
    cloud.defined.clear()
    image = cloud.image(f"rescue-volume-{len(properties)}", **properties)
    cloud.act(server, {"rescue": {"rescue_image_ref": image}}, "RESCUE")
    (xml,) = cloud.defined
    assert_encrypted(xml)
    # Its own disks are where they were; the rescue image's comes after them.
    assert disks(before) == [("sda", "sata"), ("vda", "virtio")]
    assert disks(xml) == [("sda", "sata"), ("vda", "virtio"), ("vdb", "virtio")]
    (first,) = ET.fromstring(xml).findall("devices/disk/boot[@order='1']/../target")
    assert first.get("dev") == "vdb"
    cloud.defined.clear()
    cloud.act(server, {"unrescue": None}, "ACTIVE")
    assert find(cloud.defined.pop(), "launchSecurity").get("type") == "sev"
    cloud._delete_server(server)


def test_refused_rebuild_changes_nothing(cloud: Cloud) -> None:
    server = boot(cloud, "flavor")
    before, held = record(server), cloud.resources_of(server)
    unfit = cloud.image("volume-unfit", **UEFI, hw_disk_bus="ide")
    cloud.defined.clear()
    cloud.attempt(server, {"rebuild": {"imageRef": unfit}}, "ACTIVE")
    assert not cloud.defined
    assert record(server) == before
    assert cloud.resources_of(server) == held
    cloud.hard_reboot(server)
    assert_encrypted(cloud.defined.pop())
    cloud._delete_server(server)


def test_rebuild_is_encrypted(cloud: Cloud) -> None:
    server = boot(cloud, "flavor")
    held = cloud.resources_of(server)
    fit = cloud.image("volume-fit", **ASKED_BY_IMAGE)
    cloud.act(server, {"rebuild": {"imageRef": fit}}, "ACTIVE")
    assert_encrypted(cloud.defined.pop())
    assert record(server)[1]["image_hw_mem_encryption"] == "true"
    assert cloud.resources_of(server) == held
    cloud._delete_server(server)


def test_rebuild_of_a_plain_server_from_an_asking_image_is_refused(
    cloud: Cloud,
) -> None:
    image = cloud.image("volume-plain", **UEFI)
    server = cloud.server(
        image, cloud.flavor("volume-plain"), **boot_volume(cloud.volume(image))
    )
    before = record(server)
    asking = cloud.image("volume-asking", **ASKED_BY_IMAGE)
    cloud.defined.clear()
    cloud.attempt(server, {"rebuild": {"imageRef": asking}}, "ACTIVE")
    assert not cloud.defined
    assert record(server) == before
    cloud._delete_server(server)
