# SPDX-License-Identifier: Apache-2.0
"""Encrypted guests that change their host, in a cloud with two.

Each host has one slot: a slot that is taken twice, or not given back, shows.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest
from lab import STRANGER
from openstack import exceptions

from devcloud.multinode.power import ComputeHost
from devcloud.multinode.testing import MultinodeFixture, Slots

NONE, ONE = Slots.all(0), Slots.all(1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultinodeFixture]:
    # Placement learns of a host's slots when the tests want it to.
    nova = {"DEFAULT": {"update_resources_interval": "600"}}
    state = tmp_path_factory.mktemp("two")
    with MultinodeFixture(
        state, nova=nova, max_asid=1, halting_firmware=True
    ) as fixture:
        yield fixture


@pytest.fixture(scope="module")
def encrypted_flavor(cloud: MultinodeFixture) -> str:
    return cloud.make_flavor("encrypted", hw__mem_encryption="true")


@pytest.fixture(scope="module")
def uefi_image(cloud: MultinodeFixture) -> str:
    return cloud.make_image("uefi", hw_firmware_type="uefi")


@contextlib.contextmanager
def strangers_guest(host: ComputeHost) -> Iterator[None]:
    """An encrypted guest of which Nova does not know."""
    with host.libvirt() as connection:
        domain = connection.createXML(
            STRANGER.format(name="stranger"), libvirt.VIR_DOMAIN_START_PAUSED
        )
        try:
            yield
        finally:
            domain.destroy()


@pytest.fixture
def server(
    cloud: MultinodeFixture, encrypted_flavor: str, uefi_image: str
) -> Iterator[Any]:
    """An encrypted guest, the only one of both hosts."""
    server = cloud.boot("moving", encrypted_flavor, uefi_image)
    assert server.status == "ACTIVE", server.fault
    yield server
    with contextlib.suppress(exceptions.NotFoundException):
        cloud.delete(server)
    for host in cloud.hosts.values():
        if not host.settings.sev:  # a test that failed has left it so
            with cloud.restart_of(host):
                host.change_and_restart(sev=True)
    cloud.check_slots({"node1": NONE, "node2": NONE})


def assert_encrypted_on(
    cloud: MultinodeFixture, server: Any, host: ComputeHost
) -> None:
    assert (server.status, server.compute_host) == ("ACTIVE", host.name)
    assert cloud.guest(server).launch_security == "sev"


def assert_alone_on(cloud: MultinodeFixture, server: Any, host: ComputeHost) -> None:
    """The one slot that is taken on both hosts is its own."""
    assert_encrypted_on(cloud, server, host)
    cloud.check_slots({host.name: ONE, cloud.other(host).name: NONE})


def test_cold_migration_takes_the_slot_along(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)

    server = cloud.migrate(server)

    assert server.status == "VERIFY_RESIZE", server.fault
    assert cloud.guest(server).launch_security == "sev"
    # The source's is kept in case the user reverts, but no guest is in it.
    cloud.check_slots({source.name: Slots(1, 0, 0), target.name: ONE})

    server = cloud.confirm(server)

    assert_alone_on(cloud, server, target)


def test_cold_migration_reverted_leaves_it_where_it_was(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    server = cloud.migrate(server)
    assert server.status == "VERIFY_RESIZE", server.fault

    server = cloud.revert(server)

    assert_alone_on(cloud, server, source)


def test_resize_to_another_encrypted_flavor(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)
    larger = cloud.make_flavor("larger", hw__mem_encryption="true")

    server = cloud.confirm(cloud.resize(server, larger))

    assert server.flavor.name == "larger"
    assert_alone_on(cloud, server, target)


def test_resize_to_a_plain_flavor_takes_encryption_away_and_says_so(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)
    plain = cloud.make_flavor("plain")

    server = cloud.confirm(cloud.resize(server, plain))

    assert (server.status, server.compute_host) == ("ACTIVE", target.name)
    assert cloud.guest(server).launch_security is None
    cloud.check_slots({source.name: NONE, target.name: NONE})
    said = [line for line in target.log().splitlines() if server.id in line]
    assert any("encrypt" in line for line in said), said


def test_resize_to_a_plain_flavor_reverted_gives_encryption_back(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    plain = cloud.make_flavor("plain-for-a-while")

    server = cloud.revert(cloud.resize(server, plain))

    assert_alone_on(cloud, server, source)


def test_a_restart_of_nova_between_migration_and_confirmation_changes_nothing(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)
    server = cloud.migrate(server)
    with cloud.restart_of(source), cloud.restart_of(target):
        for host in (source, target):
            host.kill("nova-compute")
            host.start("nova-compute")

    server = cloud.confirm(server)

    assert_alone_on(cloud, server, target)


def test_a_target_that_has_lost_sev_refuses_the_guest_while_it_still_runs(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    target = cloud.other(source)
    before = cloud.guest(server)
    target.change(sev=False)  # and Placement does not know yet

    outcome = cloud.act(server, "migrate")

    assert outcome.result == "Error"
    assert "the new host no longer offers it" in outcome.details
    assert_alone_on(cloud, outcome.server, source)
    assert cloud.guest(server) == before
    with cloud.restart_of(target):
        target.change_and_restart(sev=True)


def test_a_source_that_has_lost_sev_does_not_take_the_guest_back_in_the_clear(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)
    server = cloud.migrate(server)
    assert server.status == "VERIFY_RESIZE", server.fault
    with cloud.restart_of(source):
        source.change_and_restart(sev=False)

    server = cloud.revert(server)

    assert_refused_for_want_of_sev(cloud, server)
    with cloud.restart_of(source):
        source.change_and_restart(sev=True)
    server = reboot_hard(cloud, server)
    assert_encrypted_on(cloud, server, source)


def assert_refused_for_want_of_sev(cloud: MultinodeFixture, server: Any) -> None:
    assert server.status == "ERROR"
    assert "hw:mem_encryption" in server.fault["message"]
    assert "AMD SEV is not available on this host" in server.fault["message"]
    assert [xml for host in cloud.hosts.values() for xml in host.running_guests()] == []


def reboot_hard(cloud: MultinodeFixture, server: Any) -> Any:
    cloud.connection.compute.reboot_server(server, "HARD")
    return cloud.settled(server)


def test_live_migration_is_refused_by_the_api(
    cloud: MultinodeFixture, server: Any
) -> None:
    source = cloud.host_of(server)

    with pytest.raises(exceptions.BadRequestException) as refusal:
        cloud.connection.compute.live_migrate_server(server, block_migration="auto")

    assert "not supported for mem encryption enabled" in str(refusal.value)
    cloud.check_slots({source.name: ONE, cloud.other(source).name: NONE})


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

    assert_alone_on(cloud, server, source)
    cloud.delete(server)


def test_two_guests_take_two_hosts_and_a_third_finds_none(
    cloud: MultinodeFixture, server: Any, encrypted_flavor: str, uefi_image: str
) -> None:
    second = cloud.boot("second", encrypted_flavor, uefi_image)
    third = cloud.boot("third", encrypted_flavor, uefi_image)

    assert second.status == "ACTIVE", second.fault
    assert second.compute_host == cloud.other(cloud.host_of(server)).name
    assert third.status == "ERROR"
    assert "No valid host was found" in third.fault["message"]
    cloud.check_slots({"node1": ONE, "node2": ONE})

    cloud.delete(second)
    cloud.delete(third)


def test_a_host_that_is_full_without_novas_doing_passes_the_guest_on(
    cloud: MultinodeFixture, server: Any, encrypted_flavor: str, uefi_image: str
) -> None:
    # Nova's first choice does not change from one guest to the next.
    full = cloud.host_of(server)
    other = cloud.other(full)
    cloud.delete(server)
    with strangers_guest(full):
        second = cloud.boot("passed-on", encrypted_flavor, uefi_image)

        assert (second.status, second.compute_host) == ("ACTIVE", other.name)
        cloud.check_slots({full.name: Slots(0, 1, 1), other.name: ONE})
    assert f"[instance: {second.id}]" in full.log()
    cloud.delete(second)
    # It has seen the stranger when it was asked to build, and reserves its slot
    # until it looks again.
    with cloud.restart_of(full):
        full.kill("nova-compute")
        full.start("nova-compute")


def test_evacuation_from_a_dead_host(cloud: MultinodeFixture, server: Any) -> None:
    dead = cloud.host_of(server)
    target = cloud.other(dead)
    dead.switch_off()
    cloud.take_for_dead(dead, True)

    server = cloud.evacuate(server)
    assert (server.status, server.compute_host) == ("SHUTOFF", target.name)
    cloud.connection.compute.start_server(server)
    server = cloud.settled(server)

    assert_encrypted_on(cloud, server, target)
    # Until it is back, nobody can know what the dead host holds.
    cloud.check_slots({dead.name: Slots(1, 0, 0), target.name: ONE})

    with cloud.restart_of(dead):
        dead.switch_on()
    # Not before: Nova wants it to have given up its guests first.
    cloud.take_for_dead(dead, False)

    cloud.check_slots({dead.name: NONE, target.name: ONE})
    with dead.libvirt() as connection:
        assert connection.listAllDomains() == []
