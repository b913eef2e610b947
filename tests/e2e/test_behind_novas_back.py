# SPDX-License-Identifier: Apache-2.0
"""Somebody redefines or starts an encrypted guest's domain by libvirt itself."""

import contextlib
import subprocess
from typing import Any

import pytest
from lab import Lab, eventually

FOUND = "Audit: the guest asks for encryption and runs in the clear."
LOST = "asked for AMD SEV, but its domain XML has no launchSecurity: hard reboot"


@pytest.fixture
def server(lab: Lab) -> Any:
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    return server


def hard_reboot_mends(lab: Lab, server: Any) -> None:
    outcome = lab.act(server, "reboot", {"type": "HARD"})
    assert outcome.result == "Success", outcome.details
    assert outcome.server.status == "ACTIVE"
    assert lab.domain(server).launch_security == "sev"


def audits(lab: Lab, server: Any) -> list[str]:
    return [
        line for line in lab.log().splitlines() if FOUND in line and server.id in line
    ]


def test_a_soft_reboot_does_not_start_a_redefined_domain(lab: Lab, server: Any) -> None:
    lab.redefine_without_encryption(server)
    before = lab.virsh("domid", server.instance_name)

    # Nova takes it for a success where the guest goes on, and says so in its log.
    lab.act(server, "reboot", {"type": "SOFT"})

    assert LOST in lab.log()
    assert lab.virsh("domid", server.instance_name) == before
    assert lab.state(server) == "running"
    hard_reboot_mends(lab, server)


def test_a_start_makes_a_redefined_domain_anew(lab: Lab, server: Any) -> None:
    lab.act(server, "os-stop")
    lab.redefine_without_encryption(server)

    lab.do(server, "os-start")
    assert lab.domain(server).launch_security == "sev"


def test_the_audit_finds_a_guest_that_was_started_in_the_clear(
    lab: Lab, server: Any
) -> None:
    lab.redefine_without_encryption(server)
    lab.virsh("destroy", server.instance_name)
    lab.virsh("start", server.instance_name)

    (first, *_) = eventually("the audit's report", lambda: audits(lab, server))

    assert " ERROR " in first
    assert LOST in first
    # [sev] stop_unencrypted_guests is off.
    assert lab.state(server) == "running"
    hard_reboot_mends(lab, server)


def test_the_audit_stops_such_a_guest_where_the_option_says_so(lab: Lab) -> None:
    lab.configure({"sev": {"stop_unencrypted_guests": "true"}})
    server = lab.boot_encrypted()
    beside = lab.boot_encrypted("beside")
    plain = lab.boot_plain()
    lab.redefine_without_encryption(server)
    lab.virsh("destroy", server.instance_name)
    # The audit may come before that has returned.
    with contextlib.suppress(subprocess.CalledProcessError):
        lab.virsh("start", server.instance_name)

    eventually("it is stopped", lambda: lab.state(server) == "shut off")

    assert audits(lab, server)
    assert lab.state(beside) == "running"
    assert lab.state(plain) == "running"
    hard_reboot_mends(lab, server)


def test_libvirt_starts_none_of_them_by_itself(lab: Lab, server: Any) -> None:
    assert "Autostart:      disable" in lab.virsh("dominfo", server.instance_name)


def test_its_memory_cannot_be_saved_by_libvirt(lab: Lab, server: Any) -> None:
    name, file = server.instance_name, str(lab.cloud.layout.tmp / "memory")
    for command in (
        ("managedsave", name),
        ("save", name, file),
        ("snapshot-create-as", name, "--memspec", f"file={file}"),
    ):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            lab.virsh(*command)
        assert "Migration is not implemented" in refused.value.stderr
    assert "Managed save:   no" in lab.virsh("dominfo", server.instance_name)
    assert lab.state(server) == "running"
    assert lab.domain(server).launch_security == "sev"
