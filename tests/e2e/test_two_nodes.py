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
"""Encrypted guests that change their host, in a cloud with two.

Each host has one slot: a slot that is taken twice, or not given back, shows.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from openstack import exceptions

from devcloud.multinode.testing import MultinodeFixture, Slots

NONE, ONE = Slots.all(0), Slots.all(1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultinodeFixture]:
    with MultinodeFixture(tmp_path_factory.mktemp("two"), max_asid=1) as fixture:
        yield fixture


@pytest.fixture(scope="module")
def encrypted_flavor(cloud: MultinodeFixture) -> str:
    return cloud.make_flavor("encrypted", hw__mem_encryption="true")


@pytest.fixture(scope="module")
def uefi_image(cloud: MultinodeFixture) -> str:
    return cloud.make_image("uefi", hw_firmware_type="uefi")


@pytest.fixture
def server(
    cloud: MultinodeFixture, encrypted_flavor: str, uefi_image: str
) -> Iterator[Any]:
    """An encrypted guest, the only one of both hosts."""
    server = cloud.boot("moving", encrypted_flavor, uefi_image)
    assert server.status == "ACTIVE", server.fault
    yield server
    cloud.delete(server)
    assert cloud.slots() == {"node1": NONE, "node2": NONE}


def test_cold_migration_takes_the_slot_along(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)

    server = cloud.migrate(server)

    assert server.status == "VERIFY_RESIZE", server.fault
    assert cloud.guest(server).launch_security == "sev"
    # The source's is kept in case the user reverts, but no guest is in it.
    assert cloud.slots() == {source.name: Slots(1, 0, 0), target.name: ONE}

    server = cloud.confirm(server)

    assert (server.status, server.compute_host) == ("ACTIVE", target.name)
    assert cloud.guest(server).launch_security == "sev"
    assert cloud.slots() == {source.name: NONE, target.name: ONE}


def test_cold_migration_reverted_leaves_it_where_it_was(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)
    server = cloud.migrate(server)
    assert server.status == "VERIFY_RESIZE", server.fault

    server = cloud.revert(server)

    assert (server.status, server.compute_host) == ("ACTIVE", source.name)
    assert cloud.guest(server).launch_security == "sev"
    assert cloud.slots() == {source.name: ONE, target.name: NONE}


def test_resize_to_another_encrypted_flavor(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)
    larger = cloud.make_flavor("larger", hw__mem_encryption="true")

    server = cloud.confirm(cloud.resize(server, larger))

    assert (server.status, server.compute_host) == ("ACTIVE", target.name)
    assert server.flavor.name == "larger"
    assert cloud.guest(server).launch_security == "sev"
    assert cloud.slots() == {source.name: NONE, target.name: ONE}


def test_resize_to_a_plain_flavor_takes_encryption_away_and_says_so(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)
    plain = cloud.make_flavor("plain")

    server = cloud.confirm(cloud.resize(server, plain))

    assert (server.status, server.compute_host) == ("ACTIVE", target.name)
    assert cloud.guest(server).launch_security is None
    assert cloud.slots() == {source.name: NONE, target.name: NONE}
    said = [line for line in target.log().splitlines() if server.id in line]
    assert any("encrypt" in line for line in said), said


def test_live_migration_is_refused_by_the_api(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)

    with pytest.raises(exceptions.BadRequestException) as refusal:
        cloud.connection.compute.live_migrate_server(server, block_migration="auto")

    assert "SEV" in str(refusal.value)
    assert cloud.slots() == {source.name: ONE, cloud.other(source).name: NONE}


def test_live_migration_that_the_api_lets_through_is_refused_by_the_driver(
    cloud: MultinodeFixture,
) -> None:
    asking = cloud.make_image(
        "asking", hw_firmware_type="uefi", hw_mem_encryption="true"
    )
    server = cloud.boot("by-image", cloud.make_flavor("says-nothing"), asking)
    source = cloud.host_of(server)

    with contextlib.suppress(exceptions.BadRequestException):
        cloud.connection.compute.live_migrate_server(server, block_migration="auto")
    server = cloud.settled(server)

    assert (server.status, server.compute_host) == ("ACTIVE", source.name)
    assert cloud.guest(server).launch_security == "sev"
    assert cloud.slots() == {source.name: ONE, cloud.other(source).name: NONE}
    cloud.delete(server)


def test_a_full_host_passes_the_guest_on(
    cloud: MultinodeFixture, server: Any, encrypted_flavor: str, uefi_image: str
) -> None:
    second = cloud.boot("second", encrypted_flavor, uefi_image)
    third = cloud.boot("third", encrypted_flavor, uefi_image)

    assert second.status == "ACTIVE", second.fault
    assert second.compute_host == cloud.other(cloud.host_of(server)).name
    assert third.status == "ERROR"
    assert "No valid host was found" in third.fault["message"]
    assert cloud.slots() == {"node1": ONE, "node2": ONE}

    cloud.delete(second)
    cloud.delete(third)


def test_evacuation_from_a_dead_host(cloud: MultinodeFixture, server: Any) -> None:
    dead = cloud.host_of(server)
    target = cloud.other(dead)
    compute = cloud.connection.compute
    dead.switch_off()
    cloud.take_for_dead(dead, True)

    compute.evacuate_server(server)
    server = cloud.settled(server)
    if server.status == "SHUTOFF":  # as it is since API version 2.95
        compute.start_server(server)
        server = cloud.settled(server)

    assert (server.status, server.compute_host) == ("ACTIVE", target.name)
    assert cloud.guest(server).launch_security == "sev"
    # Until it is back, nobody can know what the dead host holds.
    assert cloud.slots() == {dead.name: Slots(1, 0, 0), target.name: ONE}

    with cloud.restart_of(dead):
        dead.switch_on()
        cloud.take_for_dead(dead, False)

    assert cloud.slots() == {dead.name: NONE, target.name: ONE}
    with dead.libvirt() as connection:
        assert connection.listAllDomains() == []
