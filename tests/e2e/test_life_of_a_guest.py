# SPDX-License-Identifier: Apache-2.0
"""An encrypted guest stays encrypted through all that Nova does with it."""

from collections.abc import Iterator
from typing import Any

import pytest
from lab import PROVIDER, eventually

from devcloud.restarts import Restarts
from devcloud.testing import CloudFixture


@pytest.fixture(scope="module")
def _guests(cloud: CloudFixture) -> Iterator[list[Any]]:
    guests: list[Any] = []
    yield guests
    for guest in guests:
        cloud.delete(guest)


@pytest.fixture
def server(
    cloud: CloudFixture, encrypted_flavor: str, uefi_image: str, _guests: list[Any]
) -> Any:
    """One running encrypted server for all tests; a new one after a mishap."""
    compute = cloud.connection.compute
    for guest in list(_guests):
        if compute.get_server(guest).status == "ACTIVE":
            return guest
        _guests.remove(guest)
        cloud.delete(guest)
    guest = cloud.boot("lives", encrypted_flavor, uefi_image, config_drive=True)
    _guests.append(guest)
    assert guest.status == "ACTIVE", guest.fault
    return guest


def assert_encrypted(cloud: CloudFixture, server: Any, status: str = "ACTIVE") -> None:
    assert cloud.connection.compute.get_server(server).status == status
    domain = cloud.domain(server)
    assert domain.launch_security == "sev"
    assert domain.locked
    assert "q35" in domain.machine
    assert domain.virtio and all(domain.virtio.values()), domain.virtio
    assert cloud.usage() == {PROVIDER: 1}
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 1


def assert_off(cloud: CloudFixture, server: Any, status: str, slots: int) -> None:
    """No key is in use; so many slots are kept for the server."""
    assert cloud.connection.compute.get_server(server).status == status
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 0
    assert cloud.usage() == {PROVIDER: slots}


def test_spawn_with_a_config_drive(cloud: CloudFixture, server: Any) -> None:
    assert_encrypted(cloud, server)
    disks = cloud.virsh("domblklist", "--details", server.instance_name)
    (drive,) = [line for line in disks.splitlines() if "disk.config" in line]
    assert drive.split()[1] == "cdrom"


def test_soft_reboot(cloud: CloudFixture, server: Any) -> None:
    compute = cloud.connection.compute
    before = cloud.virsh("domid", server.instance_name)
    request = cloud.ask(server, "reboot", {"type": "SOFT"})
    eventually(
        "nova-compute waits for the guest to shut down",
        lambda: compute.get_server(server).task_state == "reboot_started",
    )
    # An empty disk has nobody to obey the power button: this is the same to Nova.
    cloud.virsh("destroy", server.instance_name)
    outcome = cloud.follow(server, request)

    assert outcome.result == "Success", outcome.details
    assert cloud.virsh("domid", server.instance_name) != before
    assert_encrypted(cloud, server)


def test_hard_reboot(cloud: CloudFixture, server: Any) -> None:
    before = cloud.virsh("domid", server.instance_name)
    cloud.do(server, "reboot", {"type": "HARD"})
    assert cloud.virsh("domid", server.instance_name) != before
    assert_encrypted(cloud, server)


def test_a_reboot_that_the_guest_asks_for(cloud: CloudFixture, server: Any) -> None:
    before = cloud.virsh("domid", server.instance_name)
    # The reset line of its machine, which its own reboot pulls as well.
    cloud.virsh("reset", server.instance_name)
    assert cloud.virsh("domid", server.instance_name) == before
    assert_encrypted(cloud, server)


def test_stop_and_start(cloud: CloudFixture, server: Any) -> None:
    cloud.do(server, "os-stop")
    assert_off(cloud, server, "SHUTOFF", slots=1)
    cloud.do(server, "os-start")
    assert_encrypted(cloud, server)


def test_pause_and_unpause(cloud: CloudFixture, server: Any) -> None:
    cloud.do(server, "pause")
    assert_encrypted(cloud, server, "PAUSED")
    cloud.do(server, "unpause")
    assert_encrypted(cloud, server)


def test_snapshot_of_the_disk(
    cloud: CloudFixture, server: Any, encrypted_flavor: str
) -> None:
    before = cloud.virsh("domid", server.instance_name)
    cloud.do(server, "createImage", {"name": "snapshot"})
    image = cloud.connection.image.find_image("snapshot")
    assert image.status == "active"
    assert image.properties["hw_firmware_type"] == "uefi"
    # Nova has undefined the running guest for a moment, and defined it again.
    assert cloud.virsh("domid", server.instance_name) == before
    assert_encrypted(cloud, server)
    assert "launchSecurity" in cloud.virsh(
        "dumpxml", "--inactive", server.instance_name
    )

    copy = cloud.boot("copy", encrypted_flavor, image.id)

    assert copy.status == "ACTIVE", copy.fault
    assert cloud.domain(copy).launch_security == "sev"
    cloud.delete(copy)


def test_rebuild(cloud: CloudFixture, server: Any, uefi_image: str) -> None:
    cloud.do(server, "rebuild", {"imageRef": uefi_image})
    assert_encrypted(cloud, server)


def test_shelve_and_unshelve(cloud: CloudFixture, server: Any) -> None:
    cloud.do(server, "shelve")
    assert_off(cloud, server, "SHELVED_OFFLOADED", slots=0)
    cloud.do(server, "unshelve")
    assert_encrypted(cloud, server)


def test_rescue_by_an_ordinary_image_and_unrescue(
    cloud: CloudFixture, server: Any, bios_image: str
) -> None:
    cloud.do(server, "rescue", {"rescue_image_ref": bios_image})
    assert_encrypted(cloud, server, "RESCUE")
    assert "disk.rescue" in cloud.virsh("domblklist", server.instance_name)
    cloud.do(server, "unrescue")
    assert_encrypted(cloud, server)
    assert "disk.rescue" not in cloud.virsh("domblklist", server.instance_name)


def test_rescue_by_its_own_image_and_unrescue(cloud: CloudFixture, server: Any) -> None:
    cloud.do(server, "rescue")
    assert_encrypted(cloud, server, "RESCUE")
    cloud.do(server, "unrescue")
    assert_encrypted(cloud, server)


def test_a_flavor_that_asks_no_more(
    cloud: CloudFixture, server: Any, encrypted_flavor: str
) -> None:
    """A server keeps the flavor that it was made of."""
    compute = cloud.connection.compute
    flavor = compute.get_flavor(encrypted_flavor)
    compute.delete_flavor_extra_specs_property(flavor, "hw:mem_encryption")
    try:
        cloud.do(server, "reboot", {"type": "HARD"})
    finally:
        compute.create_flavor_extra_specs(flavor, {"hw:mem_encryption": "true"})
    assert_encrypted(cloud, server)


def test_resize_on_the_same_host(
    cloud: CloudFixture, server: Any, encrypted_flavor: str
) -> None:
    other = cloud.make_flavor("encrypted-too", hw__mem_encryption="true")

    resized = cloud.do(server, "resize", {"flavorRef": other})
    assert resized.status == "VERIFY_RESIZE"
    # The old one's is kept until the user has made up his mind.
    assert cloud.usage() == {PROVIDER: 2}
    cloud.do(server, "revertResize")
    assert_encrypted(cloud, server)

    cloud.do(server, "resize", {"flavorRef": other})
    assert cloud.domain(server).launch_security == "sev"
    cloud.do(server, "confirmResize")
    assert_encrypted(cloud, server)


def test_a_restart_of_libvirtd_with_the_guest_running(
    cloud: CloudFixture, server: Any
) -> None:
    before = cloud.virsh("domid", server.instance_name)
    Restarts(cloud.cloud).restart_libvirtd()
    assert cloud.virsh("domid", server.instance_name) == before
    assert_encrypted(cloud, server)
    # Nova has lost its connection, and makes a new one.
    cloud.do(server, "reboot", {"type": "HARD"})
    assert_encrypted(cloud, server)
