# SPDX-License-Identifier: Apache-2.0
"""Placement is down, or does not answer, while Nova needs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traps
import truth
from lab import Lab, eventually

FAILED = "Error updating resources for node node1"


@contextmanager
def placement_down(lab: Lab) -> Iterator[None]:
    lab.restarts.kill("placement")
    try:
        yield
    finally:
        lab.restarts.start("placement")


def updates_fail(lab: Lab) -> None:
    """Return when Nova has tried twice to tell Placement of its host."""
    mark = len(lab.log())
    eventually("updates fail", lambda: lab.log()[mark:].count(FAILED) > 1)


def being_deleted(lab: Lab, server: Any) -> bool:
    now = lab.connection.compute.find_server(server.id)
    return now is not None and now.status != "ERROR"


def order(lab: Lab, name: str) -> Any:
    return lab.order(name, lab.encrypted_flavor, lab.uefi_image)


def test_what_is_asked_for_while_it_is_down_fails_and_leaves_nothing(
    lab: Lab, server: Any
) -> None:
    compute = lab.connection.compute
    with placement_down(lab):
        updates_fail(lab)
        new = lab.boot_encrypted("new")
        assert new.status == "ERROR"
        assert "No valid host was found" in new.fault["message"]
        compute.delete_server(server)
        eventually("it has failed or is gone", lambda: not being_deleted(lab, server))
        # Nova tells of the failure only if it also had to tell of the host just then.
        failed = compute.find_server(server.id)
        if failed is not None:
            assert (failed.status, failed.fault["message"]) == (
                "ERROR",
                "ConnectFailure",
            )

    # As long as the server is there, it has its slot, and its guest is off.
    truth.settles(lab, allocated=1 if failed else 0, running=0)
    if failed:
        lab.delete(server)
        truth.settles(lab, allocated=0, running=0)
    after = lab.boot_encrypted("after")
    assert after.status == "ACTIVE", after.fault


def test_a_build_that_has_its_slot_goes_on_without_it(lab: Lab) -> None:
    with traps.at(lab, "prepare") as wait:
        server = order(lab, "building")
        wait()
        lab.restarts.kill("placement")
    try:
        server = lab.built(server)
        assert server.status == "ACTIVE", server.fault
        assert lab.domain(server).launch_security == "sev"
        updates_fail(lab)
    finally:
        lab.restarts.start("placement")

    truth.settles(lab, allocated=1, running=1)


def test_what_is_asked_for_while_it_hangs_is_done_when_it_goes_on(
    lab: Lab, server: Any
) -> None:
    compute = lab.connection.compute
    other = lab.boot_encrypted("other")
    with lab.restarts.frozen("placement"):
        new = order(lab, "new")
        compute.delete_server(server)
        keys = lab.host.slots_in_use
        eventually("the deleted guest is off", lambda: keys()["sev"] == 1)
        # Meanwhile the others are served.
        assert lab.act(other, "pause").server.status == "PAUSED"
        assert compute.get_server(new).status == "BUILD"

    new = lab.built(new)

    assert new.status == "ACTIVE", new.fault
    compute.wait_for_delete(server, interval=0.3, wait=60)
    truth.settles(lab, allocated=2, running=2)
