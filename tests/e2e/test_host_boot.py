# SPDX-License-Identifier: Apache-2.0
"""A host comes up again: its encrypted guests do, and encrypted."""

from lab import PROVIDER, Lab


def test_guests_that_died_with_the_host_are_started_encrypted(lab: Lab) -> None:
    server = lab.boot_encrypted()
    plain = lab.boot_plain()
    lab.restarts.kill_nova()
    for guest in (server, plain):
        lab.restarts.kill_guest(guest.instance_name)
    lab.restarts.restart_libvirtd()
    assert lab.host.slots_in_use()["sev"] == 0

    # [DEFAULT] resume_guests_state_on_host_boot is on.
    lab.restarts.start_nova()

    assert lab.state(server) == lab.state(plain) == "running"
    assert lab.domain(server).launch_security == "sev"
    assert lab.domain(plain).launch_security is None
    assert lab.host.slots_in_use()["sev"] == 1
    assert lab.usage() == {PROVIDER: 1}


def test_a_restart_of_nova_compute_leaves_a_running_guest_alone(lab: Lab) -> None:
    server = lab.boot_encrypted()
    before = lab.virsh("domid", server.instance_name)

    lab.restarts.restart_nova()

    assert lab.virsh("domid", server.instance_name) == before
    assert lab.domain(server).launch_security == "sev"
    assert lab.usage() == {PROVIDER: 1}


def test_guests_of_a_host_without_sev_are_not_started(lab: Lab) -> None:
    server = lab.boot_encrypted()
    plain = lab.boot_plain()
    lab.restarts.kill_nova()
    for guest in (server, plain):
        lab.restarts.kill_guest(guest.instance_name)
    lab.set_host(sev=False)

    lab.restarts.start_nova()

    assert lab.state(plain) == "running"
    assert lab.state(server) == "shut off"
    assert lab.usage() == {PROVIDER: 1}
