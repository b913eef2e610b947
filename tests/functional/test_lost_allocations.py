# SPDX-License-Identifier: Apache-2.0

"""Servers that run encrypted, and of which Placement has lost the allocations."""

from typing import Any

import pytest
from nova_cloud import ASKED_BY_FLAVOR, SLOTS, UEFI, Cloud, instance_of

#: MiB; Nova's fake host has 16,780,000, of which two of these do not fit.
BIG = 10_000_000


@pytest.fixture
def cloud(empty_cloud: Cloud) -> Cloud:
    return empty_cloud


def lose(cloud: Cloud, server: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Delete the server's allocations, and return what they were."""
    held = cloud.resources_of(server)
    assert held
    deleted = cloud.placement.delete(f"/allocations/{server['id']}")
    assert deleted.status == 204
    return held


def reserved(cloud: Cloud, host: str) -> tuple[int, int]:
    """Update Placement, and return what is reserved: memory in MiB, and slots."""
    cloud._run_periodics()
    providers = cloud.providers(host)
    memory = cloud._get_provider_inventory(providers[host])["MEMORY_MB"]
    return memory["reserved"], cloud.slot_inventories(host)[f"{host}_amd_sev"][1]


@pytest.fixture
def big(cloud: Cloud) -> str:
    size = {"vcpu": 2, "memory_mb": BIG, "disk": 1, "ephemeral": 0}
    name = f"big-{id(cloud)}-{len(cloud.api.get_flavors())}"
    cloud._create_flavor(id=name, name=name, extra_spec=ASKED_BY_FLAVOR, **size)
    return name


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_they_are_made_again(restart: bool, cloud: Cloud) -> None:
    host = cloud.start_compute(f"restored-{restart}".lower())
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    before = reserved(cloud, host)
    held = lose(cloud, server)
    if restart:
        cloud.restart(host)
    assert reserved(cloud, host) == before
    assert cloud.resources_of(server) == held
    assert (
        cloud.log.count(f"Server {server['id']} uses memory encryption, and its") == 1
    )
    cloud._delete_server(server)
    assert not cloud.resources_of(server)


def test_what_others_hold_by_now_is_not_taken_from_them(cloud: Cloud, big: str) -> None:
    host = cloud.start_compute("taken-meanwhile")
    image = cloud.image("big", **UEFI)
    first = cloud.server(image, big, host=host)
    memory, slots = reserved(cloud, host)
    assert slots == 0
    held = lose(cloud, first)
    second = cloud.server(image, big, host=host)
    second_held = cloud.resources_of(second)

    for _ in range(2):
        assert reserved(cloud, host) == (memory + BIG, 1)
    assert not cloud.resources_of(first)
    assert cloud.resources_of(second) == second_held
    lost = f"Server {first['id']} uses memory encryption, but has no allocation"
    assert cloud.log.count(lost) == 1
    assert (
        "Free resources on this host, or shelve and unshelve the server." in cloud.log
    )
    cloud.restart(host)
    assert reserved(cloud, host) == (memory + BIG, 1)

    cloud._delete_server(second)
    assert reserved(cloud, host) == (memory, 0)
    assert cloud.resources_of(first) == held
    cloud._delete_server(first)


def test_nothing_is_placed_onto_them_meanwhile(
    cloud: Cloud, big: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = cloud.start_compute("kept-back")
    image = cloud.image("big-too", **UEFI)
    first = cloud.server(image, big, host=host)
    held = lose(cloud, first)
    instance = instance_of(first)
    instance.task_state = "image_snapshot"
    instance.save()
    memory, slots = reserved(cloud, host)
    assert (memory >= BIG, slots) == (True, 1)
    second = cloud.server(image, big, state="ERROR", host=host)
    assert "No valid host" in cloud.fault(second)
    instance.task_state = None
    instance.save()
    assert reserved(cloud, host) == (memory - BIG, 0)
    assert cloud.resources_of(first) == held
    cloud._delete_server(second)
    cloud._delete_server(first)


def test_a_server_that_could_not_start_again_is_not_to_be_shelved(
    cloud: Cloud, big: str
) -> None:
    host = cloud.start_compute("unfit-and-lost")
    image = cloud.image("big-as-well", **UEFI)
    first = cloud.server(image, big, host=host)
    lose(cloud, first)
    second = cloud.server(image, big, host=host)
    instance = instance_of(first)
    instance.system_metadata["image_hw_disk_bus"] = "usb"
    instance.save()
    assert reserved(cloud, host)[1] == 1
    assert "Do not shelve, stop or reboot it: hw:mem_encryption of flavor" in cloud.log
    cloud._delete_server(first)
    cloud._delete_server(second)


def test_part_of_them_is_no_loss_of_all(cloud: Cloud) -> None:
    """What Placement has still is left alone; only the slot is kept back."""
    host = cloud.start_compute("lost-in-part")
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    memory, _ = reserved(cloud, host)
    root = cloud.providers(host)[host]
    url = f"/allocations/{server['id']}"
    body = cloud.placement.get(url, version="1.28").body
    body["allocations"] = {root: {"resources": {"MEMORY_MB": 512}}}
    assert cloud.placement.put(url, body, version="1.28").status == 204
    assert reserved(cloud, host) == (memory, 1)
    assert cloud.resources_of(server) == {root: {"MEMORY_MB": 512}}
    assert cloud.slot_inventories(host)[f"{host}_amd_sev"] == (SLOTS, 1)
    cloud._delete_server(server)
