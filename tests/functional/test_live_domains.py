# SPDX-License-Identifier: Apache-2.0

"""Domains that Nova defines as libvirt has them, where libvirt is picky.

Of a running guest libvirt 9.0 gives the guest firmware that it has selected, without
``os/@firmware`` but with the features by which it has selected. It refuses to define
that: "cannot use feature-based firmware autoselection when firmware autoselection is
disabled".
"""

import xml.etree.ElementTree as ET
from typing import Any

import novas
import pytest
from nova.tests.fixtures import libvirt as fakelibvirt
from nova_cloud import ASKED_BY_FLAVOR, UEFI, Cloud, find, instance_of

#: ``<os>`` of a running guest.
RUNNING = (
    "<os><type arch='x86_64' machine='q35'>hvm</type>"
    "<firmware><feature enabled='no' name='secure-boot'/></firmware>"
    "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>"
    "<nvram>/var/lib/libvirt/qemu/nvram/guest.fd</nvram></os>"
)
REFUSAL = "cannot use feature-based firmware autoselection"


@pytest.fixture
def picky(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have libvirt describe and refuse domains as libvirt 9.0 does."""
    describe = fakelibvirt.Domain.XMLDesc
    define = fakelibvirt.Connection.defineXML

    def describe_running(domain: Any, flags: int) -> str:
        root = ET.fromstring(describe(domain, flags))
        at = list(root).index(root.find("os"))  # type: ignore[arg-type]
        root[at] = ET.fromstring(RUNNING)
        return ET.tostring(root, encoding="unicode")

    def define_or_refuse(connection: Any, xml: str) -> Any:
        os = find(xml, "os")
        if os.get("firmware") is None and os.find("firmware") is not None:
            cloud.defined.append(xml)
            raise fakelibvirt.make_libvirtError(fakelibvirt.libvirtError, REFUSAL)
        return define(connection, xml)

    monkeypatch.setattr(fakelibvirt.Domain, "XMLDesc", describe_running)
    monkeypatch.setattr(fakelibvirt.Connection, "defineXML", define_or_refuse)


def swap(cloud: Cloud, server: dict[str, Any]) -> None:
    """Swap the boot disk for a volume, without Cinder's part."""
    driver = cloud.driver
    guest = driver._host.get_guest(instance_of(server))
    disk, *_ = guest.get_all_disks()
    firmware_type = ["uefi"] if novas.RELEASE < 29 else []
    driver._swap_volume(guest, disk.target_dev, disk, 0, *firmware_type)


def canonical(xml: str) -> str:
    return ET.canonicalize(xml, strip_text=True)


@pytest.mark.usefixtures("picky")
def test_volume_swap_of_an_encrypted_guest_is_defined(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    running = cloud.driver._host.get_guest(instance_of(server)).get_xml_desc()
    cloud.defined.clear()

    swap(cloud, server)

    (xml,) = cloud.defined
    assert find(xml, "launchSecurity").get("type") == "sev"
    features = ET.tostring(find(running, "os/firmware"), encoding="unicode")
    assert features in running
    assert canonical(xml) == canonical(running.replace(features, ""))


@pytest.mark.usefixtures("picky")
def test_snapshot_of_a_transient_encrypted_guest_is_defined(cloud: Cloud) -> None:
    """Such a guest was left behind by a volume swap that failed before."""
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    guest = cloud.driver._host.get_guest(instance_of(server))
    cloud.defined.clear()

    cloud.driver._host.write_instance_config(guest.get_xml_desc(dump_inactive=True))

    (xml,) = cloud.defined
    assert find(xml, "os").find("firmware") is None


@pytest.mark.usefixtures("picky")
def test_volume_swap_of_a_plain_guest_stays_as_stock_nova_has_it(cloud: Cloud) -> None:
    server = cloud.boot(UEFI)
    running = cloud.driver._host.get_guest(instance_of(server)).get_xml_desc()
    cloud.defined.clear()

    with pytest.raises(fakelibvirt.libvirtError, match=REFUSAL):
        swap(cloud, server)

    assert cloud.defined == [running]


def test_each_domain_that_nova_defines_passes_the_guard(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """host.write_instance_config is the one place: see the table of doors."""
    seen: list[str] = []
    monkeypatch.setattr(
        "sev_driver.domain.encryption.redefinable", lambda xml: seen.append(xml) or xml
    )
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.hard_reboot(server)
    assert len(seen) == len(cloud.defined) == 2
    assert seen == cloud.defined
