# SPDX-License-Identifier: Apache-2.0

"""Rescue: the server's own image decides what its rescue system runs as."""

import functools
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from nova.objects import fields
from nova_cloud import ASKERS, UEFI, ApiError, Cloud, assert_encrypted

#: What Nova knows as a model; 31 and older do not read the property.
NOVAS_MODELS = getattr(getattr(fields, "MemEncryptionModel", None), "ALL", ())
#: What a rescue image may say, and what of it would keep an encrypted guest from
#: starting.
PROPERTIES = {
    "denies": {"hw_mem_encryption": "false"},
    "other-model": {
        "hw_mem_encryption": "true",
        "hw_mem_encryption_model": "amd-sev-es",
    },
    "other-vendor": {"hw_mem_encryption_model": "intel-tdx"},
    "stateless": {"hw_firmware_stateless": "true"},
    "bios": {"hw_firmware_type": "bios"},
    "secure-boot": {"os_secure_boot": "required"},
    "pc": {"hw_machine_type": "pc"},
    "ide": {"hw_disk_bus": "ide"},
    "cdrom-on-ide": {"hw_cdrom_bus": "ide"},
    "lsi": {"hw_disk_bus": "scsi"},
}
#: Stable device rescue: all the server's disks, and the rescue image's beside them.
STABLE = {
    "disk": {"hw_rescue_device": "disk"},
    "on-virtio": {"hw_rescue_device": "disk", "hw_rescue_bus": "virtio"},
    "on-ide": {"hw_rescue_device": "cdrom", "hw_rescue_bus": "ide"},
    "on-usb": {"hw_rescue_bus": "usb"},
    "on-lsi": {"hw_rescue_device": "disk", "hw_rescue_bus": "scsi"},
    "unfit": {
        "hw_rescue_device": "cdrom",
        "hw_cdrom_bus": "ide",
        "hw_mem_encryption": "false",
    },
}
CASES = {
    **{("flavor", name): PROPERTIES[name] for name in PROPERTIES},
    ("image", "denies"): PROPERTIES["denies"],
    ("image", "other-vendor"): PROPERTIES["other-vendor"],
    **{("flavor", f"stable-{name}"): STABLE[name] for name in STABLE},
}


def buses(xml: str) -> list[str | None]:
    return [t.get("bus") for t in ET.fromstring(xml).findall("devices/disk/target")]


@pytest.fixture(scope="module")
def servers(shared: Cloud) -> Callable[[str], dict[str, Any]]:
    """One for each that may ask for encryption; each rescue leaves it as it was."""
    return functools.cache(lambda asker: shared.boot(*ASKERS[asker], config_drive=True))


@pytest.mark.parametrize(("asker", "case"), CASES, ids=map("-".join, CASES))
def test_rescue_image_has_no_say(
    asker: str, case: str, cloud: Cloud, servers: Callable[[str], dict[str, Any]]
) -> None:
    server = servers(asker)
    cloud.defined.clear()
    image = cloud.image(f"rescue-{case}", **CASES[asker, case])
    if case == "other-vendor" and NOVAS_MODELS and "intel-tdx" not in NOVAS_MODELS:
        # The API of Nova 32 and 33 cannot read such an image, and ends there.
        with pytest.raises(ApiError):
            cloud.api.post_server_action(
                server["id"], {"rescue": {"rescue_image_ref": image}}
            )
        assert not cloud.defined
        assert cloud.api.get_server(server["id"])["status"] == "ACTIVE"
        return

    cloud.act(server, {"rescue": {"rescue_image_ref": image}}, "RESCUE")

    (xml,) = cloud.defined
    assert_encrypted(xml)
    assert set(buses(xml)) <= {"virtio", "sata"}
    # The rescue image's, the root disk's and the config drive's.
    assert len(buses(xml)) == 3
    assert ET.fromstring(xml).find("os/loader[@stateless='yes']") is None
    cloud.act(server, {"unrescue": None}, "ACTIVE")


def test_image_that_was_changed_since_has_no_say(cloud: Cloud) -> None:
    """Nova reads the server's image in Glance once more for its disks' buses."""
    image = cloud.image("to-be-changed", **UEFI)
    flavor = cloud.flavor("asks", ASKERS["flavor"][1])
    server = cloud.server(image, flavor, config_drive=True)
    cloud.glance.images[image]["properties"]["hw_disk_bus"] = "ide"
    cloud.defined.clear()
    stable = cloud.image("rescue-stable", **STABLE["on-virtio"])

    cloud.act(server, {"rescue": {"rescue_image_ref": stable}}, "RESCUE")

    (xml,) = cloud.defined
    assert sorted(map(str, buses(xml))) == ["sata", "virtio", "virtio"]
    names = [t.get("dev") for t in ET.fromstring(xml).findall("devices/disk/target")]
    assert len(set(names)) == 3
    cloud._delete_server(server)
