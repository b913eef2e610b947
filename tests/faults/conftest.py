# SPDX-License-Identifier: Apache-2.0
"""Real clouds in which something breaks; what must hold after each fault is checked
here, whatever the test looks at besides."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import traps
import truth
from lab import Lab, eventually
from placement_door import PlacementDoor

from devcloud.testing import CloudFixture

HERE = Path(__file__).parent
#: As often as it can, and not every ten minutes: Nova's own look at whether guests
#: run that should, and the other way round.
OPTIONS = {
    "DEFAULT": {
        "sync_power_state_interval": 1,
        # What is left of a server is removed as soon as the server is deleted.
        "running_deleted_instance_poll_interval": 1,
        "running_deleted_instance_timeout": 0,
    }
}


def pytest_configure(config: pytest.Config) -> None:
    # openstacksdk warns of its own use of itself.
    for kind in ("DeprecationWarning", "PendingDeprecationWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{kind}:openstack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and os.geteuid() != 0:
            reason = "a cloud needs root, for namespaces and mounts of its own"
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def clouds() -> list[CloudFixture]:
    """All that run: each adds itself."""
    return []


@pytest.fixture(autouse=True)
def never_in_the_clear(clouds: list[CloudFixture]) -> Iterator[None]:
    """After each test, and the end of its guests: by what libvirt has written of
    every QEMU that it started."""
    yield
    for cloud in clouds:
        servers = truth.asked_for_encryption(cloud)
        for host in cloud.cloud.hosts:
            folder = host.layout.outside("/var/log/libvirt/qemu")
            assert truth.in_the_clear(folder, servers) == []


@pytest.fixture(scope="session")
def the_lab(
    tmp_path_factory: pytest.TempPathFactory,
    clouds: list[CloudFixture],
    until_next_group: contextlib.ExitStack,
) -> Lab:
    state = tmp_path_factory.mktemp("faults")
    lab = until_next_group.enter_context(Lab(state))
    traps.install(lab)
    clouds.append(lab)
    until_next_group.callback(clouds.remove, lab)
    return lab


def left(lab: Lab) -> list[str]:
    """What is left of guests: domains, and folders with their disks."""
    folders = lab.cloud.layout.lib("nova") / "instances"
    disks = [each.name for each in folders.glob("*-*-*-*-*")]
    return lab.virsh("list", "--all", "--name").split() + disks


@pytest.fixture
def lab(the_lab: Lab) -> Iterator[Lab]:
    """A cloud with one host; what a test leaves goes by the API, and takes no slot
    with it."""
    the_lab.configure(OPTIONS)
    truth.serves(the_lab)
    yield the_lab
    the_lab.clear()
    truth.settles(the_lab, allocated=0, running=0)
    eventually("no guest is left", lambda: not left(the_lab), truth.PATIENCE)


@pytest.fixture
def server(lab: Lab) -> Any:
    """Runs, encrypted."""
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    return server


@pytest.fixture(scope="session")
def door(the_lab: Lab) -> Iterator[PlacementDoor]:
    """Between the lab's Placement and a Nova that is configured to go by it."""
    with PlacementDoor(the_lab.cloud.ports.numbers["placement"]) as door:
        yield door
