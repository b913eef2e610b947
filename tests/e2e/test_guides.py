# SPDX-License-Identifier: Apache-2.0
"""The manual's commands, run as they are written, in the order of its pages."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console_blocks import SOURCE, TREE, Shell, commands
from manual_commands import NOT_RUN, REFUSED, SCENES
from openstack_forks import OpenstackForks

from devcloud import linux_guest
from devcloud.multinode.testing import MultinodeFixture, Slots
from devcloud.restarts import Restarts
from devcloud.testing import CloudFixture

#: Where a host's nova-compute has its log, in the manual.
LOG = "/var/log/nova/nova-compute.log"
#: Console scripts, by what follows sev-, and their modules.
OWN = {"capabilities": "capabilities", "doctor": "doctor", "driver-link": "link"}
#: Images that pages name without making them, each with a flavor m1.sev.
TAKEN_FOR_GRANTED = {
    "admin/troubleshooting.rst": ["uefi"],
    "admin/doctor-cloud.rst": ["debian"],
}
IN_A_CLOUD = [page for page, scene in SCENES.items() if scene == "cloud"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudFixture]:
    host: dict[str, Any] = {"max_asid": 15, "halting_firmware": True}
    with CloudFixture(tmp_path_factory.mktemp("guides"), **host) as fixture:
        yield fixture


@pytest.fixture(scope="module")
def forks() -> Iterator[OpenstackForks]:
    with OpenstackForks() as forks:
        yield forks


def environment(folder: Path, forks: OpenstackForks | None) -> dict[str, str]:
    """Of somebody who has just logged in, with this environment's programs.

    :param forks: what runs the openstack client; None is the program itself.
    """
    programs = folder / "programs"
    programs.mkdir()
    # Whoever may run these tests is root already. The driver's own are the tree's.
    scripts = {"sudo": 'exec "$@"'} | {
        f"sev-{name}": f'exec {sys.executable} -m sev_driver.cmd.{module} "$@"'
        for name, module in OWN.items()
    }
    for name, text in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    if forks:
        forks.write_program(programs / "openstack")
    here = Path(sys.executable).parent
    return {
        "PATH": f"{programs}:{here}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        # The tree that is tested, also where another one is installed.
        "PYTHONPATH": str(TREE),
    }


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each page begins with a cloud that has nothing in it, whatever the last did."""
    yield
    if "cloud" in request.fixturenames:
        clear(request.getfixturevalue("cloud"))


def clear(cloud: CloudFixture) -> None:
    compute, image = cloud.connection.compute, cloud.connection.image
    for server in list(compute.servers()):
        cloud.delete(server)
    for found in list(image.images()):
        image.delete_image(found)
    for flavor in list(compute.flavors()):
        compute.delete_flavor(flavor)


def restart_nova(cloud: CloudFixture) -> None:
    """With what the manual's commands have put into nova.conf."""
    text = (cloud.cloud.layout.etc("nova") / "nova.conf").read_text()
    driver = text.partition("compute_driver = ")[2].split()[0]
    options = {"DEFAULT": {"compute_driver": driver}}
    if "\nprepare_for_stock_nova = true\n" in text:
        options["sev"] = {"prepare_for_stock_nova": "true"}
    Restarts(cloud.cloud).restart_nova(options)


@pytest.mark.parametrize("page", IN_A_CLOUD)
def test_in_a_cloud(
    page: str, cloud: CloudFixture, forks: OpenstackForks, tmp_path: Path
) -> None:
    (tmp_path / ".cloud").symlink_to(cloud.cloud.layout.state)
    if page == "first-guest.rst":
        if linux_guest.disk() is None:
            pytest.skip(linux_guest.reason())
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv" / "linux-guest").symlink_to(linux_guest.FOLDER)
    (host,) = cloud.cloud.hosts
    # Its Linux wants to be started.
    host.set(halting_firmware=page != "first-guest.rst")
    places = {
        LOG: cloud.cloud.layout.log("nova"),
        "/etc/nova/nova.conf": cloud.cloud.layout.etc("nova") / "nova.conf",
        "/opt/nova/bin/": "",
    }
    # One page has the client as its reader has it.
    client = None if page == "install/verify.rst" else forks
    with Shell(tmp_path, environment(tmp_path, client)) as shell:
        if page != "first-guest.rst":  # which shows how
            shell.do("source .cloud/openrc")
        for image in TAKEN_FOR_GRANTED.get(page, ()):
            cloud.make_flavor("m1.sev", hw__mem_encryption="true")
            cloud.make_image(image, hw_firmware_type="uefi")
        if page == "admin/upgrade.rst":
            kept = cloud.make_flavor("m1.kept", hw__mem_encryption="true")
            cloud.boot("kept", kept, cloud.make_image("kept", hw_firmware_type="uefi"))
        for command in commands(SOURCE / page):
            if command.flat == "systemctl restart nova-compute":
                restart_nova(cloud)
            elif command.flat not in NOT_RUN and "pip install" not in command.text:
                for place, here in places.items():
                    command.text = command.text.replace(place, str(here))
                shell.play(command, REFUSED.get(command.flat, 0))


def test_on_two_hosts(forks: OpenstackForks, tmp_path: Path) -> None:
    (page,) = (page for page, scene in SCENES.items() if scene == "two hosts")
    nova = {"DEFAULT": {"update_resources_interval": "1"}}
    host: dict[str, Any] = {"max_asid": 3, "halting_firmware": True}
    with MultinodeFixture(tmp_path / "cloud", nova=nova, **host) as cloud:
        flavor = cloud.make_flavor("m1.sev", hw__mem_encryption="true")
        image = cloud.make_image("uefi", hw_firmware_type="uefi")
        for name in ("web1", "web2"):
            cloud.boot(name, flavor, image, availability_zone="nova:node1")
        node1 = cloud.hosts["node1"]
        with Shell(tmp_path, environment(tmp_path, forks)) as shell:
            shell.do(f"source {cloud.cloud.layout.openrc}")
            for command in commands(SOURCE / page):
                if command.flat == "reboot":
                    with cloud.restart_of(node1):
                        node1.switch_off()
                        node1.switch_on()
                else:
                    assert command.flat not in NOT_RUN
                    shell.play(command)
        cloud.check_slots({"node1": Slots.all(1), "node2": Slots.all(1)})
