# SPDX-License-Identifier: Apache-2.0

"""Guests of each generation on one host, asked for as each Nova release can."""

import contextlib
import pathlib
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import generations
import nova_cloud
import novas
import pytest
from generations import ASKED, ES, IMAGES, SEV, SNP, asking
from lxml import etree
from nova.compute import rpcapi
from nova_cloud import COMPUTE, UEFI, Cloud, find

from sev_driver.driver import SEVDriver
from sev_driver.model import MemoryEncryptionModel

SLOTS = {SEV: 100, ES: 2, SNP: 13}


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    options = {"allow_resize_to_same_host": True}
    with generations.cloud(COMPUTE, es_slots=SLOTS[ES], **options) as cloud:
        yield cloud


def pool(cloud: Cloud, model: MemoryEncryptionModel) -> tuple[int, int]:
    """Return total and used slots of a generation's provider."""
    uuid = cloud.providers()[f"{COMPUTE}_{model.symbol}"]
    inventory = cloud._get_provider_inventory(uuid)["MEM_ENCRYPTION_CONTEXT"]
    used = cloud._get_provider_usages(uuid)["MEM_ENCRYPTION_CONTEXT"]
    return inventory["total"], used


def test_each_generation_has_its_slots(cloud: Cloud) -> None:
    assert {model: pool(cloud, model)[0] for model in SLOTS} == SLOTS


@pytest.mark.parametrize(
    ("model", "kind", "policy"),
    [
        (SEV, "sev", "0x0033"),
        (ES, "sev", "0x0037"),
        (SNP, "sev-snp", "0x00030000"),
    ],
)
def test_a_guest_of_each_generation(
    model: MemoryEncryptionModel, kind: str, policy: str, cloud: Cloud
) -> None:
    server = cloud.boot(IMAGES[model], asking(model))

    (xml,) = cloud.defined
    assert find(xml, "launchSecurity").get("type") == kind
    assert find(xml, "launchSecurity/policy").text == policy
    locked = ET.fromstring(xml).find("memoryBacking/locked")
    assert (locked is None) == (model is SNP)
    if model is not SEV:
        assert find(xml, "os").get("firmware") == "efi"
    assert pool(cloud, model) == (SLOTS[model], 1)
    cloud.defined.clear()
    cloud.hard_reboot(server)
    assert find(cloud.defined[-1], "launchSecurity/policy").text == policy
    cloud._delete_server(server)
    assert pool(cloud, model) == (SLOTS[model], 0)


#: Of Debian 13, whose libvirt has sev-snp.
SCHEMA = pathlib.Path(sys.prefix, "rootfs/trixie/usr/share/libvirt/schemas/domain.rng")
#: Images whose domains have other devices and features than those of ordinary ones.
DEVICES = {
    "virtio": {
        "hw_qemu_guest_agent": "yes",
        "hw_rng_model": "virtio",
        "hw_sound_model": "virtio",
        "hw_video_model": "virtio",
        "hw_input_bus": "virtio",
        "hw_pointer_model": "usbtablet",
        "hw_watchdog_action": "reset",
    },
    "emulated": {
        "hw_disk_bus": "sata",
        "hw_cdrom_bus": "scsi",
        "hw_sound_model": "ich9",
        "hw_video_model": "qxl",
        "hw_input_bus": "usb",
        "hw_pointer_model": "usbtablet",
        "hw_usb_model": "qemu-xhci",
        "hw_redirected_usb_ports": "2",
        "hw_vif_model": "e1000e",
        "hw_serial_port_count": "3",
    },
    "queues": {
        "hw_disk_bus": "scsi",
        "hw_scsi_model": "virtio-scsi",
        "hw_cdrom_bus": "virtio",
        "hw_video_model": "bochs",
        "hw_virtio_packed_ring": "true",
        "hw_vif_multiqueue_enabled": "true",
    },
    "features": {
        "hw_video_model": "none",
        "hw_boot_menu": "true",
        "hw_pmu": "false",
        "hw_ephemeral_encryption": "false",
        "img_hide_hypervisor_id": "true",
        "os_type": "windows",
        "os_require_quiesce": "yes",
        "hw_qemu_guest_agent": "yes",
        "hw_firmware_stateless": "true",
        "os_secure_boot": "optional",
    },
}


@pytest.mark.parametrize("model", SLOTS, ids=lambda model: model.value)
@pytest.mark.parametrize("devices", DEVICES)
def test_domain_of_an_unusual_image_is_valid_by_libvirts_schema(
    devices: str, model: MemoryEncryptionModel, cloud: Cloud
) -> None:
    if not SCHEMA.exists():
        pytest.skip(f"no {SCHEMA}: make setup-trixie")
    image = IMAGES[model] | DEVICES[devices]
    server = cloud.boot(image, asking(model), networks="auto", config_drive=True)

    (xml,) = cloud.defined
    etree.RelaxNG(etree.parse(SCHEMA)).assertValid(etree.fromstring(xml))
    root = ET.fromstring(xml)
    assert root.find("launchSecurity") is not None
    assert root.find("features/smm[@state='on']") is None
    assert root.find("features/vmcoreinfo") is None
    without = [each.tag for each in root.find("devices") or () if lacks_iommu(each)]
    assert without == []
    cloud._delete_server(server)


def lacks_iommu(device: ET.Element) -> bool:
    """Return whether a virtio device would use memory that is encrypted."""
    kinds = [device, *device.findall("model"), *device.findall("target")]
    named = {kind.get(key) or "" for kind in kinds for key in ("type", "model", "bus")}
    # A channel is one of its controller's.
    is_virtio = any(name.startswith("virtio") for name in named)
    is_virtio = is_virtio and device.tag != "channel"
    return is_virtio and device.find("driver[@iommu='on']") is None


def test_the_image_may_name_the_generation(cloud: Cloud) -> None:
    # On an older Nova the flavor still has to find the pool.
    specs = ASKED if novas.RELEASE >= 32 else asking(ES)
    specs.pop("sev:model", None)
    server = cloud.boot(UEFI | {"hw_mem_encryption_model": "amd-sev-es"}, specs)
    assert find(cloud.defined[0], "launchSecurity/policy").text == "0x0037"
    cloud._delete_server(server)


def test_ways_that_disagree_are_both_named(cloud: Cloud) -> None:
    named = asking(ES) | {"sev:model": "amd-sev-snp"}
    server = cloud.boot(UEFI, named, state="ERROR")
    fault = cloud.fault(server)
    assert "and sev:model=amd-sev-snp" in fault or "sev:model=amd-sev-snp and" in fault
    assert "make the two agree" in fault
    assert not cloud.defined
    cloud._delete_server(server)


def test_a_slot_of_another_generation_is_not_taken(cloud: Cloud) -> None:
    """Both slots of SEV-ES are in use, and nothing but the pool is left to ask."""
    guests = [cloud.boot(UEFI, asking(ES)) for _ in range(SLOTS[ES])]
    cloud.defined.clear()
    blind = {"sev:model": "amd-sev-es", "resources:MEM_ENCRYPTION_CONTEXT": "1"}

    refused = cloud.boot(UEFI, blind, state="ERROR")

    assert not cloud.defined
    assert "the server's slot in Placement is one of AMD SEV" in cloud.log
    cloud._delete_server(refused)
    for guest in guests:
        cloud._delete_server(guest)
    assert [pool(cloud, model)[1] for model in SLOTS] == [0, 0, 0]


def moved_to_the_wrong_pool(cloud: Cloud, state: str) -> dict[str, Any]:
    """Resize a guest by a flavor that finds the slot of another generation."""
    server, other = (cloud.boot(UEFI, asking(ES)) for _ in range(2))
    cloud.defined.clear()
    blind = {"sev:model": "amd-sev-es", "resources:MEM_ENCRYPTION_CONTEXT": "1"}
    flavor = cloud.flavor("blind-larger", blind)

    cloud.attempt(server, {"resize": {"flavorRef": flavor}}, state)

    assert "the server's slot in Placement is one of AMD SEV" in cloud.log
    assert not cloud.defined
    cloud._delete_server(other)
    return server


def test_a_move_to_a_slot_of_another_generation_leaves_the_guest_as_it_was(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The new host asks the old one by a cast, which tells of no error; Nova's
    # fixtures make a call of it.
    resize = rpcapi.ComputeAPI.resize_instance

    def cast(*args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(Exception):
            resize(*args, **kwargs)

    monkeypatch.setattr(rpcapi.ComputeAPI, "resize_instance", cast)
    server = moved_to_the_wrong_pool(cloud, "ACTIVE")
    now = cloud.api.get_server(server["id"])
    assert now["OS-EXT-STS:power_state"] == 1
    assert now["flavor"]["original_name"] != "blind-larger"
    assert pool(cloud, ES)[1] == 1
    cloud._delete_server(server)
    assert [pool(cloud, model)[1] for model in SLOTS] == [0, 0, 0]


def test_a_guest_whose_old_host_did_not_look_is_not_started(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it runs Nova's own driver; Nova's fixtures make no disks to move."""
    monkeypatch.setattr(
        SEVDriver, "migrate_disk_and_power_off", lambda *args, **kwargs: "{}"
    )
    server = moved_to_the_wrong_pool(cloud, "ERROR")
    assert "require the trait of AMD SEV-ES" in cloud.fault(server)
    cloud._delete_server(server)
    assert [pool(cloud, model)[1] for model in SLOTS] == [0, 0, 0]


def test_our_key_without_a_slot_is_refused_in_words(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, {"sev:model": "amd-sev-es"}, state="ERROR")
    assert "set resources:MEM_ENCRYPTION_CONTEXT=1" in cloud.fault(server)
    cloud._delete_server(server)


def test_snp_without_stateless_firmware_is_refused_in_words(cloud: Cloud) -> None:
    if novas.RELEASE >= 34:
        with pytest.raises(nova_cloud.ApiError, match="hw_firmware_stateless"):
            cloud.boot(UEFI, asking(SNP))
        return
    server = cloud.boot(UEFI, asking(SNP), state="ERROR")
    assert "hw_firmware_stateless=true" in cloud.fault(server)
    cloud._delete_server(server)
