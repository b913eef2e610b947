# SPDX-License-Identifier: Apache-2.0
"""libvirtd dies while it works on a guest, and is started again as by an init.

What it was about to tell nova-compute is lost, whether it had been done or not.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import traps
import truth
from lab import Lab

#: What a user is told of a start that broke off.
BROKEN = "Connection to the hypervisor is broken on host"


@contextlib.contextmanager
def killed(lab: Lab, moment: str, name: str) -> Iterator[None]:
    """libvirtd is killed as soon as it comes to a moment of a guest's life; the body
    asks for what takes it there.

    :param moment: defining, or an operation of traps.at.
    """
    trap = traps.defining(lab, name) if moment == "defining" else traps.at(lab, moment)
    with trap as wait:
        yield
        wait()
        lab.restarts.kill_libvirtd()
    lab.restarts.start_libvirtd()


@pytest.mark.parametrize("moment", ["defining", "prepare"])
def test_a_build_before_qemu_is_passed_on(lab: Lab, moment: str) -> None:
    with killed(lab, moment, traps.next_name(lab)):
        server = lab.order("guest", lab.encrypted_flavor, lab.uefi_image)
    server = lab.built(server)

    # There is no other host to pass it on to. Nova does not try where libvirtd is not
    # back when it cleans up.
    ends = (
        "Exhausted all hosts available for retrying",
        "hypervisor is broken on host",
    )
    assert server.status == "ERROR"
    assert any(end in server.fault["message"] for end in ends), server.fault
    truth.settles(lab, allocated=0, running=0)
    truth.serves(lab)
    again = lab.boot_encrypted("again")
    assert again.status == "ACTIVE", again.fault
    truth.settles(lab, allocated=1, running=1)


@pytest.mark.parametrize("moment", ["defining", "prepare"])
def test_a_start_before_qemu_leaves_it_off(lab: Lab, server: Any, moment: str) -> None:
    lab.act(server, "os-stop")
    with killed(lab, moment, server.instance_name):
        request = lab.ask(server, "os-start")
    outcome = lab.follow(server, request)

    assert (outcome.result, outcome.server.status) == ("Error", "SHUTOFF")
    assert outcome.details
    truth.settles(lab, allocated=1, running=0)
    lab.do(server, "os-start")
    truth.settles(lab, allocated=1, running=1)


def test_a_start_that_was_done_is_undone(lab: Lab, server: Any) -> None:
    lab.act(server, "os-stop")
    with killed(lab, "started", server.instance_name):
        request = lab.ask(server, "os-start")
    outcome = lab.follow(server, request)

    assert (outcome.result, outcome.server.status) == ("Error", "SHUTOFF")
    assert BROKEN in outcome.details
    # It runs, and the user was told that it does not: Nova's look stops it.
    truth.settles(lab, allocated=1, running=0)
    lab.do(server, "os-start")
    truth.settles(lab, allocated=1, running=1)


def test_a_stop_is_found_out(lab: Lab, server: Any) -> None:
    with killed(lab, "stopped", server.instance_name):
        request = lab.ask(server, "os-stop")

    assert lab.follow(server, request).result == "Error"
    truth.becomes(lab, server, "SHUTOFF")
    truth.settles(lab, allocated=1, running=0)


def test_a_delete_is_asked_for_again(lab: Lab, server: Any) -> None:
    with killed(lab, "stopped", server.instance_name):
        lab.connection.compute.delete_server(server)
    truth.becomes(lab, server, "ERROR")

    truth.settles(lab, allocated=1, running=0)
    lab.delete(server)
    truth.settles(lab, allocated=0, running=0)
