# SPDX-License-Identifier: Apache-2.0
"""An encrypted guest, from the flavor to libvirt and Placement."""

from lab import eventually

from devcloud.testing import CloudFixture

PROVIDER = "node1_amd_sev"


def test_it_runs_encrypted_and_takes_a_slot_until_it_is_gone(
    cloud: CloudFixture, encrypted_flavor: str, uefi_image: str
) -> None:
    server = cloud.boot("encrypted", encrypted_flavor, uefi_image)

    assert server.status == "ACTIVE", server.fault
    domain = cloud.domain(server)
    assert domain.launch_security == "sev"
    assert domain.policy == 0x33
    assert domain.locked
    assert domain.loader and "OVMF" in domain.loader
    assert domain.virtio and all(domain.virtio.values()), domain.virtio
    assert cloud.usage() == {PROVIDER: 1}
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 1

    cloud.delete(server)

    # Nova gives it back when the server is already gone from its API.
    eventually("the slot is free", lambda: cloud.usage() == {PROVIDER: 0})
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 0


def test_client_of_the_oldest_api_need_not_name_networks(
    cloud: CloudFixture, encrypted_flavor: str, uefi_image: str
) -> None:
    request = {
        "name": "oldest-api",
        "flavorRef": encrypted_flavor,
        "imageRef": uefi_image,
    }
    compute = cloud.connection.compute
    answer = compute.post("/servers", json={"server": request}, microversion="2.1")
    assert answer.ok, answer.text

    server = cloud.built(compute.get_server(answer.json()["server"]["id"]))

    assert server.status == "ACTIVE", server.fault
    cloud.delete(server)


def test_a_plain_guest_beside_it_has_none_of_this(
    cloud: CloudFixture,
    encrypted_flavor: str,
    plain_flavor: str,
    uefi_image: str,
    bios_image: str,
) -> None:
    encrypted = cloud.boot("beside", encrypted_flavor, uefi_image)
    plain = cloud.boot("plain", plain_flavor, bios_image)

    assert plain.status == "ACTIVE", plain.fault
    domain = cloud.domain(plain)
    assert domain.launch_security is None
    assert not domain.locked
    assert not any(domain.virtio.values())
    assert "i440fx" in domain.machine
    assert cloud.usage() == {PROVIDER: 1}

    cloud.delete(plain)
    cloud.delete(encrypted)


def test_an_image_that_asks_is_as_good_as_a_flavor(
    cloud: CloudFixture, plain_flavor: str
) -> None:
    image = cloud.make_image(
        "asking", hw_firmware_type="uefi", hw_mem_encryption="true"
    )

    server = cloud.boot("by-image", plain_flavor, image)

    assert server.status == "ACTIVE", server.fault
    assert cloud.domain(server).launch_security == "sev"
    cloud.delete(server)
