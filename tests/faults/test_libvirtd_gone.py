# SPDX-License-Identifier: Apache-2.0
"""libvirtd is gone, and stays away while Nova looks for it again and again."""

from typing import Any

import traps
import truth
from lab import PROVIDER, Lab, eventually

#: A line in nova-compute's log for each time, once a minute by default.
IN_VAIN = "Error during ComputeManager.update_available_resource"
MINUTES = 5
BROKEN = "Connection to the hypervisor is broken on host"


def pass_minutes(lab: Lab) -> None:
    before = lab.log().count(IN_VAIN)
    eventually(
        f"Nova has looked for libvirt {MINUTES} times",
        lambda: lab.log().count(IN_VAIN) >= before + MINUTES,
        truth.PATIENCE,
    )


def test_guests_go_on_and_keep_their_slots(lab: Lab, server: Any) -> None:
    before = lab.virsh("domid", server.instance_name)
    lab.restarts.kill_libvirtd()
    pass_minutes(lab)

    assert lab.host.slots_in_use()["sev"] == 1
    assert lab.usage() == {PROVIDER: 1}
    assert lab.inventory() == {PROVIDER: (4, 0)}
    compute = lab.connection.compute
    assert compute.get_server(server).status == "ACTIVE"
    another = lab.boot_encrypted("another")
    assert another.status == "ERROR"
    assert "No valid host was found" in another.fault["message"]
    for action, parameters in (("os-stop", None), ("reboot", {"type": "HARD"})):
        outcome = lab.act(server, action, parameters)
        assert (outcome.result, outcome.server.status) == ("Error", "ACTIVE")
        assert BROKEN in outcome.details

    lab.restarts.start_libvirtd()
    truth.serves(lab)
    truth.settles(lab, allocated=1, running=1)
    assert lab.virsh("domid", server.instance_name) == before
    outcome = lab.act(server, "reboot", {"type": "HARD"})
    assert outcome.result == "Success", outcome.details


def test_a_delete_meanwhile(lab: Lab, server: Any) -> None:
    lab.restarts.kill_libvirtd()
    lab.connection.compute.delete_server(server)
    truth.becomes(lab, server, "ERROR")
    fault = lab.connection.compute.get_server(server).fault
    assert BROKEN in fault["message"]
    lab.restarts.start_libvirtd()

    truth.settles(lab, allocated=1, running=1)
    lab.delete(server)
    truth.settles(lab, allocated=0, running=0)


def test_a_guest_that_had_just_started_does_not_outlive_its_build(lab: Lab) -> None:
    """libvirtd dies at the worst moment, and Nova has given up when it is back."""
    with traps.at(lab, "started") as wait:
        server = lab.order("guest", lab.encrypted_flavor, lab.uefi_image)
        wait()
        lab.restarts.kill_libvirtd()
    server = lab.built(server)

    assert server.status == "ERROR"
    assert "Exhausted all hosts available for retrying" in server.fault["message"]
    # Placement has been told that the slot is free, and it is not.
    assert lab.host.slots_in_use()["sev"] == 1
    lab.restarts.start_libvirtd()
    truth.settles(lab, allocated=0, running=0)
    truth.serves(lab)
