# SPDX-License-Identifier: Apache-2.0

"""How often an update queries Placement for the holders of slots."""

import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from nova import context as nova_context
from nova import objects
from nova.scheduler.client import report
from nova.virt.libvirt.driver import LibvirtDriver
from nova_cloud import ASKED_BY_FLAVOR, SLOTS, UEFI, Cloud
from test_slots_that_are_gone import strangers_guest

from sev_driver.compute.slot_consumers import PlacementQueries
from sev_driver.driver import SEVDriver
from sev_driver.host import kernel
from sev_driver.placement import freshness


@pytest.fixture
def cloud(empty_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud in which a change has settled at once."""
    monkeypatch.setattr(freshness, "SETTLING", 0)
    return empty_cloud


class Queries:
    """Counts those of each update of the hosts."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cloud = cloud
        self._count = 0
        query = PlacementQueries.consumers_of

        def counting(this: Any, provider: str) -> frozenset[str]:
            self._count += 1
            return query(this, provider)

        monkeypatch.setattr(PlacementQueries, "consumers_of", counting)

    def update(self) -> int:
        self._count = 0
        self._cloud._run_periodics()
        return self._count


@pytest.fixture
def queries(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Queries:
    return Queries(cloud, monkeypatch)


def lose(cloud: Cloud, server: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Delete the server's allocations, and return what they were."""
    held = cloud.resources_of(server)
    assert held
    assert cloud.placement.delete(f"/allocations/{server['id']}").status == 204
    return held


def wait_an_interval(cloud: Cloud, host: str) -> None:
    known = cloud.computes[host].driver._slots._known
    known._clock = lambda: time.monotonic() + 600


def slots(cloud: Cloud, host: str) -> tuple[int, int] | None:
    return cloud.slot_inventories(host).get(f"{host}_amd_sev")


def test_placement_is_queried_only_when_guests_start_or_end(
    cloud: Cloud, queries: Queries
) -> None:
    host = cloud.start_compute("quiet")
    assert [queries.update() for _ in range(3)] == [0, 0, 0]
    first = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    queries.update()
    assert [queries.update() for _ in range(3)] == [0, 0, 0]
    second = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    plain = cloud.boot(host=host)
    queries.update()
    assert [queries.update() for _ in range(3)] == [0, 0, 0]
    assert slots(cloud, host) == (SLOTS, 0)
    cloud._delete_server(plain)
    assert queries.update() == 0
    cloud.act(first, {"os-stop": None}, "SHUTOFF")
    assert queries.update() + queries.update() == 1
    cloud.act(first, {"os-start": None}, "ACTIVE")
    assert queries.update() + queries.update() == 1
    for server in (first, second):
        cloud._delete_server(server)
    queries.update()
    assert queries.update() == 0


def test_an_allocation_that_is_deleted_is_noticed_after_the_interval(
    cloud: Cloud, queries: Queries
) -> None:
    host = cloud.start_compute("forgetful")
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    queries.update()
    held = lose(cloud, server)
    assert queries.update() == 0
    assert not cloud.resources_of(server)
    wait_an_interval(cloud, host)
    assert queries.update() > 0
    assert cloud.resources_of(server) == held
    cloud._delete_server(server)


def test_it_is_noticed_when_another_guest_starts(
    cloud: Cloud, queries: Queries
) -> None:
    cloud.flags(group="libvirt", num_memory_encrypted_guests=2)
    host = cloud.start_compute("with-two-slots")
    first = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    queries.update()
    held = lose(cloud, first)
    second = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    assert queries.update() > 0
    assert cloud.resources_of(first) == held
    assert slots(cloud, host) == (2, 0)
    for server in (first, second):
        cloud._delete_server(server)


def test_it_is_noticed_after_a_restart(cloud: Cloud) -> None:
    host = cloud.start_compute("starting-again")
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    cloud._run_periodics()
    held = lose(cloud, server)
    cloud.restart(host)
    assert cloud.resources_of(server) == held
    cloud._delete_server(server)


def test_an_interval_of_none_queries_with_each_update(
    cloud: Cloud, queries: Queries
) -> None:
    cloud.flags(group="sev", allocation_check_interval=0)
    host = cloud.start_compute("always")
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    assert [queries.update() for _ in range(3)] == [1, 1, 1]
    held = lose(cloud, server)
    queries.update()
    assert cloud.resources_of(server) == held
    cloud._delete_server(server)


def test_a_guest_without_an_allocation_is_asked_about_with_each_update(
    cloud: Cloud, queries: Queries
) -> None:
    host = cloud.start_compute("with-a-stranger")
    guest = strangers_guest(cloud, host)
    queries.update()
    assert all(queries.update() > 0 for _ in range(3))
    assert slots(cloud, host) == (SLOTS, 1)
    guest.destroy()
    queries.update()
    assert slots(cloud, host) == (SLOTS, 0)


def functions(work: Callable[[], Any]) -> int:
    """Return how many functions the work calls, Python's and C's."""
    count = 0

    def tell(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tell)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_an_update_without_a_change_costs_little_more_than_novas(cloud: Cloud) -> None:
    cloud.flags(group="sev", allocation_check_interval=600)
    host = cloud.start_compute("counted")
    servers = [cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host) for _ in range(2)]
    driver = cloud.computes[host].driver
    context = nova_context.get_admin_context()
    tree = report.report_client_singleton().get_provider_tree_and_ensure_root(
        context, objects.ComputeNode.get_by_nodename(context, host).uuid, name=host
    )
    for _ in range(3):
        driver.update_provider_tree(tree, host)
    novas = functions(lambda: LibvirtDriver.update_provider_tree(driver, tree, host))
    ours = functions(lambda: driver.update_provider_tree(tree, host))
    assert ours - novas < 320
    for server in servers:
        cloud._delete_server(server)


def no_owner(cloud: Cloud, provider: str) -> None:
    traits = set(cloud._get_provider_traits(provider)) - {"OWNER_NOVA"}
    cloud._set_provider_traits(provider, sorted(traits))


def three_reserved(cloud: Cloud, provider: str) -> None:
    inventory = cloud._get_provider_inventory(provider)["MEM_ENCRYPTION_CONTEXT"]
    found = cloud._get_resource_provider_by_uuid(provider)
    generation = found["generation"]
    answer = cloud.placement.put(
        f"/resource_providers/{provider}/inventories/MEM_ENCRYPTION_CONTEXT",
        {**inventory, "reserved": 3, "resource_provider_generation": generation},
    )
    assert answer.status == 200


@pytest.mark.parametrize("change", [no_owner, three_reserved])
def test_after_quiet_updates_a_change_in_placement_is_undone(
    change: Callable[[Cloud, str], None], cloud: Cloud
) -> None:
    host = cloud.start_compute(f"put-right-{change.__name__}")
    for _ in range(3):
        cloud._run_periodics()
    provider = cloud.providers(host)[f"{host}_amd_sev"]
    change(cloud, provider)
    # Nova reads its tree every five minutes.
    cloud.computes[host].manager.reportclient.clear_provider_cache()
    cloud._run_periodics()
    assert "OWNER_NOVA" in cloud._get_provider_traits(provider)
    assert slots(cloud, host) == (SLOTS, 0)


def test_after_quiet_updates_a_change_on_the_host_counts(
    cloud: Cloud, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "CONTROL_GROUPS", (tmp_path,))
    host = cloud.start_compute("changing")

    def update() -> tuple[int, int] | None:
        cloud._run_periodics()
        return slots(cloud, host)

    assert [update() for _ in range(3)] == [(SLOTS, 0)] * 3
    (tmp_path / "misc.current").write_text("sev 2\n")
    assert [update() for _ in range(3)] == [(SLOTS, 2)] * 3
    (tmp_path / "misc.current").write_text("sev 0\n")
    assert [update() for _ in range(3)] == [(SLOTS, 0)] * 3
    cloud.flags(group="libvirt", num_memory_encrypted_guests=2)
    assert [update() for _ in range(3)] == [(2, 0)] * 3
    guest = strangers_guest(cloud, host)
    # The slots that are not offered are used first.
    assert [update() for _ in range(3)] == [(2, 0)] * 3
    cloud.flags(group="libvirt", num_memory_encrypted_guests=SLOTS)
    assert [update() for _ in range(3)] == [(SLOTS, 1)] * 3
    guest.destroy()
    assert update() == (SLOTS, 0)


def test_what_nova_reads_before_an_update_is_not_queried_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nova reads all allocations of a host, also when it claims for a new guest."""
    queried: list[str] = []
    in_update: list[bool] = []
    client, driver = report.SchedulerReportClient, SEVDriver
    query, update = (
        client.get_allocations_for_resource_provider,
        driver.update_provider_tree,
    )

    def counting(this: Any, context: Any, provider: str) -> Any:
        if in_update:
            queried.append(provider)
        return query(this, context, provider)

    def updating(*args: Any, **kwargs: Any) -> None:
        in_update.append(True)
        try:
            update(*args, **kwargs)
        finally:
            in_update.pop()

    monkeypatch.setattr(client, "get_allocations_for_resource_provider", counting)
    monkeypatch.setattr(driver, "update_provider_tree", updating)
    host = cloud.start_compute("told-by-nova")
    first = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    second = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    cloud._run_periodics()
    assert not queried
    held = lose(cloud, first)
    third = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    cloud._run_periodics()
    # A guest seems to lack a slot, so Placement is asked as of now.
    assert queried
    assert cloud.resources_of(first) == held
    assert slots(cloud, host) == (SLOTS, 0)
    for server in (first, second, third):
        cloud._delete_server(server)
