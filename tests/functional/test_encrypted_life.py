# SPDX-License-Identifier: Apache-2.0

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
    ASKERS,
    UEFI,
    ApiError,
    Cloud,
    assert_encrypted,
    find,
    instance_of,
)


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


@pytest.mark.skipif(
    novas.RELEASE < 33,
    reason="before Nova 33 a hard reboot selects anew, as a first start does",
)
def test_a_hard_reboot_takes_no_firmware_from_a_guest_in_the_clear(
    cloud: Cloud, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have variables, which no guest with SEV-SNP can have."""
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    firmware = explicit_firmware(tmp_path, " secure='no'")
    original = fakelibvirt.Domain.XMLDesc
    monkeypatch.setattr(
        fakelibvirt.Domain,
        "XMLDesc",
        lambda domain, flags: without_launch_security(
            original(domain, flags).replace("</os>", f"{firmware}</os>")
        ),
    )
    cloud.defined.clear()
    cloud.hard_reboot(server)
    (xml,) = cloud.defined
    assert_encrypted(xml)
    assert find(xml, "os").get("firmware") == "efi"
    assert ET.fromstring(xml).find("os/nvram") is None


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
