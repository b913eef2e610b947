# SPDX-License-Identifier: Apache-2.0
"""A guest's QEMU dies: by the kernel's hand when memory is out, or its own fault."""

from typing import Any

import traps
import truth
from lab import Lab, eventually


def starts_again(lab: Lab, server: Any) -> None:
    lab.do(server, "os-start")
    assert lab.domain(server).launch_security == "sev"
    truth.settles(lab, allocated=1, running=1)


def test_while_it_runs(lab: Lab, server: Any) -> None:
    lab.restarts.kill_guest(server.instance_name)

    truth.becomes(lab, server, "SHUTOFF")
    truth.settles(lab, allocated=1, running=0)
    starts_again(lab, server)


def test_while_libvirtd_is_gone(lab: Lab, server: Any) -> None:
    lab.restarts.kill_libvirtd()
    lab.restarts.kill_guest(server.instance_name)
    lab.restarts.start_libvirtd()

    truth.becomes(lab, server, "SHUTOFF")
    truth.settles(lab, allocated=1, running=0)
    starts_again(lab, server)


def test_as_soon_as_it_runs(lab: Lab) -> None:
    """If Nova has not seen it run by then, it waits for that without an end."""
    name = traps.next_name(lab)
    with traps.at(lab, "started") as wait:
        server = lab.order("guest", lab.encrypted_flavor, lab.uefi_image)
        wait()
        lab.restarts.kill_guest(name)
    eventually("libvirt has noticed", lambda: is_off(lab, name), truth.PATIENCE)
    truth.settles(lab, allocated=1, running=0)

    server = lab.connection.compute.get_server(server)
    if server.status == "BUILD":
        lab.virsh("start", name)
        truth.becomes(lab, server, "ACTIVE")
        truth.settles(lab, allocated=1, running=1)
    else:
        truth.becomes(lab, server, "SHUTOFF")
        starts_again(lab, server)


def is_off(lab: Lab, name: str) -> bool:
    return lab.virsh("domstate", name).strip() == "shut off"
