# SPDX-License-Identifier: Apache-2.0
"""What must hold after every fault: slots are where guests are, none in the clear."""

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lab import PROVIDER, Lab, eventually

from devcloud.testing import CloudFixture

#: libvirt writes the command line of each QEMU that it starts below such a line.
START = re.compile(r"^.*: starting up libvirt version: ", re.MULTILINE)
UUID = re.compile(r"-uuid ([0-9a-f-]{36})")
ENCRYPTED = ("confidential-guest-support=", '"qom-type":"sev-')
#: Placement hears of a guest's end from two updates of Nova's, on a busy machine.
PATIENCE = 60


class Slots(NamedTuple):
    """A host's, by each that keeps count of them for itself."""

    #: Held in Placement by servers.
    allocated: int
    #: In Placement's inventory: taken by guests that hold none.
    reserved: int
    #: Encrypted guests that libvirt runs.
    libvirt: int
    #: Keys that the simulated processor has given out.
    keys: int


def slots(lab: Lab) -> Slots:
    return Slots(
        lab.usage().get(PROVIDER, 0),
        lab.inventory().get(PROVIDER, (0, 0))[1],
        sum("<launchSecurity" in xml for xml in running(lab)),
        lab.host.slots_in_use()["sev"],
    )


def running(lab: Lab) -> Iterator[str]:
    """Yield the XML of each domain that runs."""
    for name in lab.virsh("list", "--name").split():
        # It may end in between.
        with contextlib.suppress(subprocess.CalledProcessError):
            yield lab.virsh("dumpxml", name)


def settles(lab: Lab, *, allocated: int, running: int, reserved: int = 0) -> None:
    """Fail unless all come to agree, without a hand."""
    wanted = Slots(allocated, reserved, running, running)
    deadline = time.monotonic() + PATIENCE
    while (found := slots(lab)) != wanted:
        assert time.monotonic() < deadline, f"{found} instead of {wanted}"
        time.sleep(0.2)


def becomes(lab: Lab, server: Any, status: str) -> None:
    """Fail unless Nova finds out by itself."""
    compute = lab.connection.compute
    eventually(
        f"{server.name} is {status}",
        lambda: compute.get_server(server).status == status,
        PATIENCE,
    )


def serves(lab: Lab) -> None:
    """Fail unless the host is there for new guests again, without a hand."""
    compute = lab.connection.compute

    def enabled() -> bool:
        (service,) = compute.services(binary="nova-compute")
        return (service.status, service.state) == ("enabled", "up")

    eventually("nova-compute is enabled", enabled, PATIENCE)
    eventually("its slots are offered", lambda: PROVIDER in lab.inventory(), PATIENCE)


def command_lines(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each that libvirt has ever started a QEMU with, and its guest's uuid.

    :param folder: libvirt's logs of guests.
    """
    for log in folder.glob("*.log"):
        for line in START.split(log.read_text(errors="replace"))[1:]:
            if found := UUID.search(line):
                yield found[1], line


def in_the_clear(folder: Path, servers: set[str]) -> list[str]:
    """Return those of the servers that ever were started without encryption."""
    return [
        uuid
        for uuid, line in command_lines(folder)
        if uuid in servers and not all(words in line for words in ENCRYPTED)
    ]


def asked_for_encryption(cloud: CloudFixture) -> set[str]:
    """The uuids of all servers that ever did."""
    found = set()
    # Those that are there first: one may be deleted in between.
    for deleted in ("false", "true"):
        url = f"/servers/detail?all_tenants=true&deleted={deleted}"
        answer = cloud.connection.compute.get(
            url, microversion=cloud.settings.compute_api
        )
        for server in answer.json()["servers"]:
            if "hw:mem_encryption" in server["flavor"]["extra_specs"]:
                found.add(server["id"])
    return found
