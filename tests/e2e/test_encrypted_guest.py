#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
"""An encrypted guest, from the flavor to libvirt and Placement."""

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

    assert cloud.usage() == {PROVIDER: 0}
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 0


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
