# SPDX-License-Identifier: Apache-2.0
"""Nova dies while Placement moves the slots of guests to another resource provider."""

import concurrent.futures
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import truth
from lab import PROVIDER, Lab, eventually
from placement_door import PlacementDoor

from devcloud.cloud import CloudError
from devcloud.config.ini import Sections

ROOT = "node1"


def options(door: PlacementDoor, on_root: bool) -> Sections:
    return {
        "placement": {"endpoint_override": door.url},
        "sev": {"slots_on_root_provider": str(on_root)},
    }


@contextlib.contextmanager
def nova_away(lab: Lab, options: Sections) -> Iterator[None]:
    """At its end Nova is started, and is left alone."""
    lab.restarts.kill_nova()
    try:
        yield
    finally:
        lab.start_nova(options)


def start_and_kill(
    lab: Lab, door: PlacementDoor, options: Sections, moment: str
) -> None:
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        door.holding("POST /reshaper", moment) as hold,
    ):
        start = pool.submit(lab.start_nova, options)
        hold.wait()
        lab.restarts.kill_nova()
        with pytest.raises(CloudError, match="nova did not start"):
            start.result()


def placement_says(lab: Lab) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    return lab.inventory(), lab.usage()


def test_slots_are_where_they_were_or_where_they_belong(
    lab: Lab, server: Any, door: PlacementDoor
) -> None:
    run = lab.virsh("domid", server.instance_name)
    for on_root, source, target in ((True, PROVIDER, ROOT), (False, ROOT, PROVIDER)):
        wanted = options(door, on_root)
        # Four slots, of which the guest has one: all there, or all here.
        before, after = (({name: (4, 0)}, {name: 1}) for name in (source, target))
        with nova_away(lab, wanted):
            start_and_kill(lab, door, wanted, "before")
            assert placement_says(lab) == before
            start_and_kill(lab, door, wanted, "after")
            assert placement_says(lab) == after
        assert placement_says(lab) == after
    assert lab.virsh("domid", server.instance_name) == run
    assert lab.domain(server).launch_security == "sev"
    truth.serves(lab)

    another = lab.boot_encrypted("another")

    assert another.status == "ACTIVE", another.fault
    both = {PROVIDER: (4, 0)}, {PROVIDER: 2}
    eventually("both hold a slot", lambda: placement_says(lab) == both)
