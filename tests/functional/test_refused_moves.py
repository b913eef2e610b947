# SPDX-License-Identifier: Apache-2.0

"""Resizes that the image or the flavor makes impossible leave the guest as it was."""

import contextlib
from collections.abc import Iterator
from typing import Any

import generations
import nova_cloud
import pytest
from generations import SEV
from nova import context as nova_context
from nova import objects
from nova.compute import rpcapi
from nova_cloud import ASKED_BY_FLAVOR, COMPUTE, UEFI, Cloud, instance_of

Q35 = UEFI | {"hw_machine_type": "q35"}
OTHER = "compute2"
SLOT = {"resources:MEM_ENCRYPTION_CONTEXT": "1"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with nova_cloud.cloud(compute=False) as cloud, generations.switched_on(cloud, SEV):
        cloud.flags(allow_resize_to_same_host=False)
        for name in (COMPUTE, OTHER):
            generations.start(cloud, name)
        yield cloud


@pytest.fixture(autouse=True)
def no_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova's fixtures make no disks: its half only powers off, ours is kept."""

    nova_cloud.move_no_disks(monkeypatch)
    nova_cloud.cast_resizes(monkeypatch)


CASES = {
    "BIOS image": ({"hw_machine_type": "q35"}, {"sev:model": "amd-sev"} | SLOT),
    "machine type": (UEFI | {"hw_machine_type": "pc"}, ASKED_BY_FLAVOR),
    "USB disk": (Q35 | {"hw_disk_bus": "usb"}, ASKED_BY_FLAVOR),
    "SCSI disk": (Q35 | {"hw_disk_bus": "scsi"}, ASKED_BY_FLAVOR),
    "IDE CD-ROM": (
        Q35 | {"hw_cdrom_bus": "ide"},
        ASKED_BY_FLAVOR,
    ),
    "vGPU": (Q35, ASKED_BY_FLAVOR | {"resources1:VGPU": "0"}),
    "two models": (Q35, ASKED_BY_FLAVOR | {"sev:model": "amd-sev-es"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_resize_that_cannot_end_well_is_refused_while_the_guest_runs(
    case: str, cloud: Cloud
) -> None:
    image, specs = CASES[case]
    server = cloud.boot(image, config_drive=True)
    before = cloud.resources_of(server)
    host = instance_of(server).host
    cloud.defined.clear()
    flavor = cloud.flavor(f"refused {case}", specs)

    cloud.attempt(server, {"resize": {"flavorRef": flavor}}, "ACTIVE")

    now = cloud.api.get_server(server["id"])
    assert now["OS-EXT-STS:power_state"] == 1
    assert instance_of(server).host == host
    assert not cloud.defined
    # No slot stays with it, nor with the migration.
    assert cloud.resources_of(server) == before
    assert sum(cloud.slots_used(name) for name in (COMPUTE, OTHER)) == 0
    cloud._delete_server(server)


def requested_flavor(server: dict[str, Any]) -> str:
    """Return the flavor for which Nova's scheduler finds a host for the server."""
    context = nova_context.get_admin_context()
    spec = objects.RequestSpec.get_by_instance_uuid(context, server["id"])
    name: str = spec.flavor.flavorid
    return name


def test_flavor_of_a_refused_resize_is_not_kept(cloud: Cloud) -> None:
    """As real services do it: nova-conductor stores it before the new host begins."""
    image = cloud.image("on-usb", **Q35, hw_disk_bus="usb")
    own = cloud.flavor("not-resized")
    server = cloud.server(image, own, host=COMPUTE)
    before = cloud.resources_of(server)
    flavor = cloud.flavor("refused", ASKED_BY_FLAVOR, vcpus=4)
    prep_resize = rpcapi.ComputeAPI.prep_resize
    calls: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        keep = lambda *args, **kwargs: calls.append((args, kwargs))  # noqa: E731
        patch.setattr(rpcapi.ComputeAPI, "prep_resize", keep)
        cloud.api.post_server_action(server["id"], {"resize": {"flavorRef": flavor}})
    assert requested_flavor(server) == flavor
    ((args, kwargs),) = calls

    with contextlib.suppress(Exception):
        prep_resize(*args, **kwargs)

    cloud.wait_for(server, "ACTIVE")
    assert "hw_disk_bus of the image is usb" in cloud.last_event(server)
    assert requested_flavor(server) == own
    assert cloud.resources_of(server) == before
    source = cloud.evacuate(server, COMPUTE, OTHER, status="SHUTOFF")
    held = cloud.resources_of(server)
    cloud.restart(COMPUTE)
    cloud.api.put_service_force_down(source.service_ref.uuid, False)
    assert "launchSecurity" not in cloud.defined[0]
    new = [each for uuid, each in held.items() if uuid not in before]
    assert new == list(before.values())
    cloud._delete_server(server)
