# SPDX-License-Identifier: Apache-2.0

"""Shares (virtiofs): refused for encrypted guests before anything is destroyed.

A share is attached to a stopped server. Nova lets its server start and be resized.
"""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import nova_cloud
import novas
import pytest
from nova.tests import fixtures as nova_fixtures
from nova_cloud import ASKED_BY_FLAVOR, COMPUTE, UEFI, Cloud, instance_of

if novas.RELEASE < 31:
    pytest.skip("this Nova has no shares", allow_module_level=True)

REFUSED = "a share (virtiofs) is attached to the server: detach the share"
#: Nova 31 refuses any move of a server with a share; Nova 34 moves the share.
BY_THE_API = "Feature not supported with instances that have shares"
SHARE = "4b021746-d0eb-4031-92aa-23c3bec182cd"
NFS = "nova.virt.libvirt.volume.nfs.LibvirtNFSVolumeDriver"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with (
        nova_cloud.cloud(compute=False) as cloud,
        mock.patch(f"{NFS}.connect_volume"),
        mock.patch(f"{NFS}.disconnect_volume"),
    ):
        cloud.useFixture(nova_fixtures.ManilaFixture())
        cloud.flags(auth_type="password", group="manila")
        # What Nova wants for a share: it makes the memory available to virtiofsd.
        cloud.flags(ram_allocation_ratio=1.0, reserved_host_memory_mb=0)
        cloud.flags(file_backed_memory=8192, group="libvirt")
        for name in (COMPUTE, "compute2"):
            cloud.start_compute(name, qemu_version=8_000_000)
        yield cloud


@pytest.fixture(autouse=True)
def no_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    nova_cloud.move_no_disks(monkeypatch)
    nova_cloud.cast_resizes(monkeypatch)


def with_share(cloud: Cloud, specs: dict[str, str]) -> dict[str, Any]:
    """Return a stopped server with a share."""
    server = cloud.boot(UEFI | {"hw_machine_type": "q35"}, specs, host=COMPUTE)
    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    cloud._attach_share(server, SHARE)
    return server


def domain(cloud: Cloud, server: dict[str, Any]) -> tuple[int, str]:
    """Return number and XML of a server's domain, which must exist."""
    guest = cloud.driver._host.get_guest(instance_of(server))
    return guest.id, guest.get_xml_desc()


def test_start_of_an_encrypted_server_leaves_its_domain(cloud: Cloud) -> None:
    server = with_share(cloud, ASKED_BY_FLAVOR)
    before = domain(cloud, server)
    cloud.attempt(server, {"os-start": None}, "SHUTOFF")
    assert REFUSED in cloud.last_event(server)
    assert domain(cloud, server) == before

    cloud._detach_share(server, SHARE)
    cloud.act(server, {"os-start": None}, "ACTIVE")
    cloud._delete_server(server)


def test_resize_to_an_encrypted_flavor_leaves_the_guest_running(cloud: Cloud) -> None:
    server = with_share(cloud, {})
    cloud.act(server, {"os-start": None}, "ACTIVE")
    before = domain(cloud, server)
    assert "<filesystem" in before[1]
    encrypted = cloud.flavor("share-encrypted", ASKED_BY_FLAVOR)
    logged = len(cloud.log)
    cloud.attempt(server, {"resize": {"flavorRef": encrypted}}, "ACTIVE")
    assert any(words in cloud.log[logged:] for words in (REFUSED, BY_THE_API))
    assert domain(cloud, server) == before
    cloud._delete_server(server)
