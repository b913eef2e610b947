# SPDX-License-Identifier: Apache-2.0
"""A host loses SEV: its encrypted guests wait, and all others are served."""

from typing import Any

import pytest
from lab import PROVIDER, Lab, eventually

#: What a user is told, in `server event show` or as the server's fault.
OFF = "asks for AMD SEV, but AMD SEV is not available on this host: "
PARAMETER = "/sys/module/kvm_amd/parameters/sev is N: enable SEV"
DEAD_PSP = "libvirt reports sev supported='no' although kvm_amd has SEV enabled"


def lose_parameter(lab: Lab) -> None:
    """kvm_amd is loaded without SEV."""
    lab.set_host(sev=False)


def lose_psp(lab: Lab) -> None:
    """The parameter stays on, but QEMU gets no answer out of /dev/sev."""
    lab.host.set(sev=False)
    (lab.host.layout.parameters / "sev").write_text("Y\n")
    lab.restarts.restart_libvirtd()


LOSSES = {"parameter": (lose_parameter, PARAMETER), "psp": (lose_psp, DEAD_PSP)}


@pytest.fixture
def stopped(lab: Lab) -> Any:
    """An encrypted server that is shut off."""
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    return lab.act(server, "os-stop").server


@pytest.fixture
def running(lab: Lab) -> Any:
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    return server


@pytest.mark.parametrize("loss", LOSSES)
def test_nova_compute_starts_and_refuses_the_guest_until_sev_is_back(
    lab: Lab, stopped: Any, loss: str
) -> None:
    lose, reason = LOSSES[loss]
    lose(lab)
    lab.restarts.restart_nova()

    # It serves a plain guest; the encrypted one keeps its slot, and no other
    # finds one.
    plain = lab.boot_plain()
    assert plain.status == "ACTIVE", plain.fault
    assert lab.usage() == {PROVIDER: 1}
    assert lab.inventory() == {PROVIDER: (1, 1)}
    another = lab.boot_encrypted("another")
    assert another.status == "ERROR"
    assert "No valid host was found" in another.fault["message"]

    outcome = lab.act(stopped, "os-start")

    assert outcome.result == "Error"
    assert OFF in outcome.details
    assert reason in outcome.details
    assert "hw:mem_encryption of flavor encrypted" in outcome.details
    assert outcome.server.status == "SHUTOFF"
    assert lab.state(stopped) == "shut off"
    log = lab.log()
    assert (
        f"The guest cannot be started. hw:mem_encryption of flavor encrypted {OFF}"
        in log
    )

    lab.set_host(sev=True)
    outcome = lab.act(stopped, "os-start")

    assert outcome.result == "Success", outcome.details
    assert lab.domain(stopped).launch_security == "sev"
    eventually("the slots are back", lambda: lab.inventory() == {PROVIDER: (4, 0)})


def test_a_running_guest_is_left_running_by_what_is_refused(
    lab: Lab, running: Any
) -> None:
    before = lab.virsh("domid", running.instance_name)
    lose_parameter(lab)

    rebuild = lab.act(running, "rebuild", {"imageRef": lab.uefi_image})
    assert rebuild.result == "Error"
    assert OFF in rebuild.details
    assert rebuild.server.status == "ACTIVE"
    # Nova takes a reboot that leaves the guest running for a success; its log
    # tells.
    reboot = lab.act(running, "reboot", {"type": "HARD"})
    assert reboot.server.status == "ACTIVE"
    assert "Reboot failed but instance is running" in lab.log()
    assert lab.virsh("domid", running.instance_name) == before
    assert lab.domain(running).launch_security == "sev"

    lab.set_host(sev=True)
    eventually("the slots are back", lambda: PROVIDER in lab.inventory())
    lab.do(running, "reboot", {"type": "HARD"})
    assert lab.domain(running).launch_security == "sev"
    assert lab.usage() == {PROVIDER: 1}


def test_pause_goes_on_working_for_a_running_guest(lab: Lab, running: Any) -> None:
    lose_parameter(lab)
    assert lab.act(running, "pause").result == "Success"
    assert lab.act(running, "unpause").result == "Success"
    assert lab.domain(running).launch_security == "sev"


def test_a_rescued_guest_stays_in_its_rescue_system(lab: Lab, running: Any) -> None:
    lab.act(running, "rescue", {"rescue_image_ref": lab.bios_image})
    before = lab.virsh("domid", running.instance_name)
    lose_parameter(lab)

    outcome = lab.act(running, "unrescue")

    assert outcome.result == "Error"
    assert OFF in outcome.details
    assert lab.virsh("domid", running.instance_name) == before
    assert lab.domain(running).launch_security == "sev"

    lab.set_host(sev=True)
    lab.do(running, "reboot", {"type": "HARD"})
    assert lab.domain(running).launch_security == "sev"
    assert "disk.rescue" not in lab.virsh("domblklist", running.instance_name)


def test_a_rescue_is_refused_in_words_and_starts_nothing(
    lab: Lab, running: Any
) -> None:
    lose_parameter(lab)

    # Nova powers the guest off first, which the driver refuses to do for nothing.
    outcome = lab.act(running, "rescue", {"rescue_image_ref": lab.bios_image})

    assert outcome.result == "Error"
    assert OFF in outcome.details
    assert lab.state(running) == "running"

    lab.set_host(sev=True)
    lab.do(running, "reboot", {"type": "HARD"})
    assert lab.domain(running).launch_security == "sev"
