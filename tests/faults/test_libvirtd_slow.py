# SPDX-License-Identifier: Apache-2.0
"""libvirtd is there, and takes ten seconds for every answer."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import truth
from lab import PROVIDER, Lab, eventually
from placement_door import PlacementDoor
from slow_libvirt import SlowLibvirt

SECONDS = 10
#: So that a nova-compute that waits is not down before the test is over.
DOWN = 20
#: A pause asks libvirtd some times, one after the other.
PATIENCE = 180


@pytest.fixture(scope="module")
def libvirt(the_lab: Lab) -> Iterator[SlowLibvirt]:
    layout = the_lab.cloud.layout
    socket = the_lab.host.layout.libvirt_socket
    with SlowLibvirt(layout.tmp / "slow", socket) as libvirt:
        yield libvirt


def is_up(lab: Lab) -> bool:
    (service,) = lab.connection.compute.services(binary="nova-compute")
    return (service.status, service.state) == ("enabled", "up")


def test_it_is_waited_for_and_nobody_else_is_kept_waiting(
    lab: Lab, server: Any, libvirt: SlowLibvirt, door: PlacementDoor
) -> None:
    # Written with each update, when the driver is through with it.
    told = lab.cloud.layout.tmp / "slots.prom"
    lab.configure(
        {
            "DEFAULT": {"service_down_time": DOWN},
            "libvirt": {"connection_uri": libvirt.uri},
            "placement": {"endpoint_override": door.url},
            "sev": {"prometheus_textfile": str(told)},
        }
    )
    truth.serves(lab)
    mark, compute = len(lab.log()), lab.connection.compute
    (node,) = lab.connection.placement.resource_providers(name="node1")
    # What comes before it asks Placement is Nova's own, and would take minutes.
    update = f"GET /resource_providers/{node.id}/allocations"
    with door.holding(update, "awhile") as hold, contextlib.ExitStack() as stack:
        hold.wait()
        before = told.stat().st_mtime_ns
        stack.enter_context(libvirt.slow(SECONDS))
        hold.end()
        new = lab.order("new", lab.encrypted_flavor, lab.uefi_image)
        lab.ask(server, "pause")

        def done() -> bool:
            assert is_up(lab)
            assert lab.inventory() == {PROVIDER: (4, 0)}
            updated = told.stat().st_mtime_ns > before
            return updated and compute.get_server(server).status == "PAUSED"

        eventually("an update, and the guest is paused", done, PATIENCE)
        assert compute.get_server(new).status == "BUILD"

    new = lab.built(new)

    assert new.status == "ACTIVE", new.fault
    assert lab.domain(new).launch_security == "sev"
    truth.settles(lab, allocated=2, running=2)
    # The driver says so whenever it tells Placement something else.
    assert f"Resource provider {PROVIDER}: " not in lab.log()[mark:]
