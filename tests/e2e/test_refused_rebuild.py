# SPDX-License-Identifier: Apache-2.0

"""A server keeps what Placement has given it, and its image, on real services."""

from typing import Any

from lab import PROVIDER, eventually

from devcloud.testing import CloudFixture


def held(cloud: CloudFixture, server: Any) -> dict[str, dict[str, int]]:
    """Return what a server holds in Placement, by the providers' uuids."""
    answer = cloud.connection.placement.get(f"/allocations/{server.id}").json()
    return {
        provider: record["resources"]
        for provider, record in answer["allocations"].items()
    }


def assert_encrypted(cloud: CloudFixture, server: Any) -> None:
    assert cloud.connection.compute.get_server(server).status == "ACTIVE"
    assert cloud.domain(server).launch_security == "sev"
    assert cloud.usage() == {PROVIDER: 1}


def test_an_encrypted_server_lives_on_after_a_refused_rebuild(
    cloud: CloudFixture, encrypted_flavor: str, uefi_image: str, bios_image: str
) -> None:
    server = cloud.boot("rebuilt", encrypted_flavor, uefi_image, config_drive=True)
    assert server.status == "ACTIVE", server.fault
    before = held(cloud, server)
    domain = cloud.virsh("domid", server.instance_name)
    unfit = cloud.make_image("unfit", hw_firmware_type="uefi", hw_disk_bus="ide")

    refused = cloud.act(server, "rebuild", {"imageRef": unfit})

    assert refused.result == "Error"
    assert "hw_disk_bus of the image is ide" in refused.details
    assert cloud.virsh("domid", server.instance_name) == domain
    assert cloud.connection.compute.get_server(server).image.id == uefi_image
    assert held(cloud, server) == before
    assert_encrypted(cloud, server)

    cloud.do(server, "reboot", {"type": "HARD"})
    assert cloud.virsh("domid", server.instance_name) != domain
    assert_encrypted(cloud, server)
    cloud.do(server, "os-stop")
    cloud.do(server, "os-start")
    assert_encrypted(cloud, server)
    cloud.do(server, "rescue", {"rescue_image_ref": bios_image})
    cloud.do(server, "unrescue")
    assert_encrypted(cloud, server)
    cloud.do(server, "shelve")
    cloud.do(server, "unshelve")
    assert_encrypted(cloud, server)
    cloud.delete(server)
    eventually("nothing is left", lambda: cloud.usage() == {PROVIDER: 0})


def test_a_plain_server_stays_plain_after_a_refused_rebuild(
    cloud: CloudFixture, plain_flavor: str, bios_image: str
) -> None:
    server = cloud.boot("plain", plain_flavor, bios_image)
    assert server.status == "ACTIVE", server.fault
    before = held(cloud, server)
    asking = cloud.make_image("asks", hw_firmware_type="uefi", hw_mem_encryption="true")
    for _ in range(2):
        refused = cloud.act(server, "rebuild", {"imageRef": asking})
        assert refused.result == "Error"
        assert "the server has no slot in Placement" in refused.details
        assert held(cloud, server) == before
    cloud.do(server, "reboot", {"type": "HARD"})
    domain = cloud.domain(server)
    assert domain.launch_security is None
    assert "q35" not in domain.machine
    assert cloud.connection.compute.get_server(server).image.id == bios_image
    cloud.delete(server)


def test_allocations_that_are_lost_are_made_again(
    cloud: CloudFixture, encrypted_flavor: str, uefi_image: str
) -> None:
    server = cloud.boot("lost", encrypted_flavor, uefi_image)
    assert server.status == "ACTIVE", server.fault
    before = held(cloud, server)
    cloud.connection.placement.delete(f"/allocations/{server.id}")
    assert not held(cloud, server)
    # With the next update, which comes each minute.
    eventually("they are back", lambda: held(cloud, server) == before, 150)
    eventually("no slot is reserved", lambda: cloud.inventory()[PROVIDER][1] == 0, 150)
    cloud.delete(server)
    eventually("nothing is left", lambda: cloud.usage() == {PROVIDER: 0})
