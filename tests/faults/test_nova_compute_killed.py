# SPDX-License-Identifier: Apache-2.0
"""nova-compute dies while it builds a guest, or moves one to another host.

Each host has one slot. Of some of these Nova does not get over by itself, whatever
its driver is: there, the commands that mend it are run.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import admin
import pytest
from libvirt_steps import Steps
from openstack import exceptions

from devcloud.multinode.power import ComputeHost
from devcloud.multinode.testing import MultinodeFixture, Slots
from devcloud.simhost.host import SimulatedHost
from devcloud.simhost.settings import HostSettings
from devcloud.testing import CloudFixture

COMPUTE = "nova-compute"
NONE, ONE = Slots.all(0), Slots.all(1)
#: Held in Placement, by a guest that is off or by nobody any more.
HELD = Slots(1, 0, 0)


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory, clouds: list[CloudFixture]
) -> Iterator[MultinodeFixture]:
    nova = {"DEFAULT": {"update_resources_interval": "1"}}
    state = tmp_path_factory.mktemp("killed")
    with MultinodeFixture(
        state, nova=nova, max_asid=1, halting_firmware=True
    ) as fixture:
        clouds.append(fixture)
        yield fixture
        clouds.remove(fixture)


@pytest.fixture(scope="module")
def steps(cloud: MultinodeFixture) -> dict[str, Steps]:
    """What libvirt does on each host."""
    found = {}
    for name in cloud.hosts:
        host = SimulatedHost(HostSettings(name=name), cloud.cloud.layout.host(name))
        found[name] = Steps(host)
        found[name].install()
    return found


@pytest.fixture(scope="module")
def encrypted(cloud: MultinodeFixture) -> dict[str, str]:
    """What to boot."""
    return {
        "flavor_id": cloud.make_flavor("encrypted", hw__mem_encryption="true"),
        "image_id": cloud.make_image("uefi", hw_firmware_type="uefi"),
    }


@pytest.fixture(autouse=True)
def left_clean(cloud: MultinodeFixture) -> Iterator[None]:
    """After each test: what the user deletes is gone, from everywhere."""
    yield
    for server in list(cloud.connection.compute.servers()):
        with contextlib.suppress(exceptions.NotFoundException):
            cloud.delete(server)
    cloud.check_slots({"node1": NONE, "node2": NONE})
    for host in cloud.hosts.values():
        with host.libvirt() as connection:
            assert connection.listAllDomains() == []


def start_again(cloud: MultinodeFixture, host: ComputeHost) -> None:
    with cloud.restart_of(host):
        host.start(COMPUTE)


def now(cloud: MultinodeFixture, server: Any) -> Any:
    return cloud.connection.compute.get_server(server)


@pytest.fixture
def half_built(
    cloud: MultinodeFixture, steps: dict[str, Steps], encrypted: dict[str, str]
) -> Any:
    """A server whose nova-compute was killed when libvirt was about to start QEMU."""
    with steps["node1"].held("start") as gate:
        server = cloud.connection.compute.create_server(
            name="half-built",
            networks="none",
            availability_zone="nova:node1",
            **encrypted,
        )
        gate.wait()
        cloud.hosts["node1"].kill(COMPUTE)
    # libvirt does what it was asked for, and nobody waits for it any more.
    cloud.check_slots({"node1": ONE, "node2": NONE})
    return server


def test_killed_in_a_build_it_leaves_an_error_and_the_slot_to_the_guest(
    cloud: MultinodeFixture, half_built: Any
) -> None:
    assert now(cloud, half_built).status == "BUILD"

    start_again(cloud, cloud.hosts["node1"])

    server = cloud.settled(half_built)
    assert (server.status, server.fault) == ("ERROR", None)
    assert admin.told(cloud, server, "create") == {
        "compute__do_build_and_run_instance": None
    }
    # Its guest runs, and it is the server's until the user deletes that.
    assert cloud.guest(server).launch_security == "sev"
    cloud.check_slots({"node1": ONE, "node2": NONE})
    admin.assert_nothing_reserved(cloud)


def test_what_is_deleted_while_it_is_away_is_gone_when_it_is_back(
    cloud: MultinodeFixture, half_built: Any
) -> None:
    node = cloud.hosts["node1"]
    cloud.take_for_dead(node, True)

    cloud.delete(half_built)

    # Placement has the slot back too early, but nobody builds on this host.
    cloud.check_slots({"node1": Slots(0, 1, 1), "node2": NONE})
    start_again(cloud, node)
    cloud.take_for_dead(node, False)
    cloud.check_slots({"node1": NONE, "node2": NONE})


@pytest.fixture
def moving(cloud: MultinodeFixture, encrypted: dict[str, str]) -> Any:
    """A server on node1."""
    server = cloud.boot(
        "moving",
        encrypted["flavor_id"],
        encrypted["image_id"],
        availability_zone="nova:node1",
    )
    assert server.status == "ACTIVE", server.fault
    return server


def killed_in_migration(
    cloud: MultinodeFixture, server: Any, host: ComputeHost, steps: Steps, step: str
) -> None:
    with steps.held(step) as gate:
        cloud.connection.compute.migrate_server(server)
        gate.wait()
        host.kill(COMPUTE)


def test_killed_on_the_target_of_a_migration(
    cloud: MultinodeFixture, moving: Any, steps: dict[str, Steps]
) -> None:
    target = cloud.hosts["node2"]
    killed_in_migration(cloud, moving, target, steps["node2"], "start")
    cloud.check_slots({"node1": HELD, "node2": ONE})

    start_again(cloud, target)

    # Nova leaves it so: only a delete or an admin helps.
    server = now(cloud, moving)
    assert (server.status, server.task_state) == ("RESIZE", "resize_finish")
    assert server.compute_host == "node2"
    assert admin.told(cloud, server, "migrate")["compute_finish_resize"] is None
    assert cloud.guest(server).launch_security == "sev"

    cloud.connection.compute.reset_server_state(server, "active")
    cloud.connection.compute.reboot_server(server, "HARD")
    server = cloud.settled(server)
    assert server.status == "ACTIVE", server.fault
    assert cloud.guest(server).launch_security == "sev"
    cloud.delete(server)
    # All that the migration holds on the source: processors, memory and the slot.
    cloud.check_slots({"node1": HELD, "node2": NONE})
    assert "Deleted allocations" in admin.audit_of_placement(cloud)
    cloud.check_slots({"node1": NONE, "node2": NONE})
    admin.undefine(cloud.hosts["node1"], server)


def test_killed_on_the_source_of_a_migration(
    cloud: MultinodeFixture, moving: Any, steps: dict[str, Steps]
) -> None:
    source = cloud.hosts["node1"]
    killed_in_migration(cloud, moving, source, steps["node1"], "stopped")
    cloud.check_slots({"node1": HELD, "node2": HELD})

    start_again(cloud, source)

    server = cloud.settled(moving)
    assert (server.status, server.compute_host) == ("SHUTOFF", "node1")
    assert admin.told(cloud, server, "migrate")["compute_resize_instance"] is None
    cloud.connection.compute.start_server(server)
    server = cloud.settled(server, "SHUTOFF")
    assert server.status == "ACTIVE", server.fault
    assert cloud.guest(server).launch_security == "sev"
    # The server's own slot is the target's still; the migration has the one it is in.
    cloud.check_slots({"node1": ONE, "node2": HELD})
    admin.assert_nothing_reserved(cloud)

    migration = admin.migration_of(cloud, server)
    cloud.connection.compute.shelve_server(server)
    server = cloud.settled(server, "ACTIVE", "SHELVED")
    assert server.status == "SHELVED_OFFLOADED", server.fault
    admin.give_back(cloud, migration)
    cloud.check_slots({"node1": NONE, "node2": NONE})
    cloud.connection.compute.unshelve_server(server)
    server = cloud.settled(server, "SHELVED_OFFLOADED")
    assert server.status == "ACTIVE", server.fault
    assert cloud.guest(server).launch_security == "sev"
    there = cloud.host_of(server)
    cloud.check_slots({there.name: ONE, cloud.other(there).name: NONE})
