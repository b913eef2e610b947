# SPDX-License-Identifier: Apache-2.0
"""The disk that Nova keeps its guests' disks on is full."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import truth
from lab import Lab

#: One guest's disk by its flavor, as Placement counts it, and no more.
SIZE = 1100 << 20


class Disk:
    """A small one, in the place of Nova's instances folder."""

    def __init__(self, lab: Lab) -> None:
        self._run = lab.restarts.run
        self.folder = Path(lab.cloud.layout.lib("nova")) / "instances"
        self._filler = str(self.folder / "filler")
        options = f"size={SIZE}"
        self._run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder))

    def remove(self) -> None:
        self._run("umount", "--lazy", str(self.folder))

    def fill(self) -> None:
        free = self._run("df", "--block-size=1", "--output=avail", str(self.folder))
        self._run("fallocate", "--length", free.split()[-1], self._filler)

    def empty(self) -> None:
        self._run("rm", self._filler)

    def has(self, server: Any) -> bool:
        """Whether anything of the server lies there."""
        return any(
            server.id in name for name in self._run("ls", str(self.folder)).split()
        )


@pytest.fixture
def disk(lab: Lab) -> Iterator[Disk]:
    disk = Disk(lab)
    yield disk
    lab.clear()
    disk.remove()


def test_a_build(lab: Lab, disk: Disk) -> None:
    disk.fill()
    server = lab.boot_encrypted()

    assert server.status == "ERROR"
    assert "Exhausted all hosts available for retrying" in server.fault["message"]
    truth.settles(lab, allocated=0, running=0)
    assert not disk.has(server)
    disk.empty()
    again = lab.boot_encrypted("again")
    assert again.status == "ACTIVE", again.fault
    truth.settles(lab, allocated=1, running=1)


def test_a_guest_that_has_its_disk_is_started(lab: Lab, disk: Disk) -> None:
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    disk.fill()
    for action, parameters in (
        ("os-stop", None),
        ("os-start", None),
        ("reboot", {"type": "HARD"}),
    ):
        lab.do(server, action, parameters)
    truth.settles(lab, allocated=1, running=1)


def test_a_rebuild(lab: Lab, disk: Disk) -> None:
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    image = lab.make_image("big", hw_firmware_type="uefi")
    disk.fill()
    outcome = lab.act(server, "rebuild", {"imageRef": image})

    assert (outcome.result, outcome.server.status) == ("Error", "ERROR")
    assert "OSError" in outcome.details
    # Nova has destroyed the guest before; what it holds is not given away.
    truth.settles(lab, allocated=1, running=0)
    disk.empty()
    outcome = lab.act(server, "rebuild", {"imageRef": image})
    assert outcome.result == "Success", outcome.details
    truth.settles(lab, allocated=1, running=1)
