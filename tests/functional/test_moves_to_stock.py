# SPDX-License-Identifier: Apache-2.0

"""Guests in a cloud where some hosts have this driver and some have stock Nova."""

import contextlib
from collections.abc import Iterator
from typing import Any

import generations
import nova_cloud
import pytest
from generations import SEV
from nova import exception as nova_exception
from nova.compute import rpcapi
from nova.scheduler.client.report import SchedulerReportClient
from nova_cloud import ASKED_BY_FLAVOR, UEFI, Cloud, find, instance_of
from with_driver import SEV_DRIVER, STOCK_DRIVER

OURS, STOCK = "ours", "stock"
Q35 = UEFI | {"hw_machine_type": "q35"}
#: What asks for SEV in a way that stock Nova does not know.
BY_SEV_MODEL = {"sev:model": "amd-sev", "resources:MEM_ENCRYPTION_CONTEXT": "1"}
PROTECTED = BY_SEV_MODEL | {"trait:CUSTOM_AMD_SEV_HOST": "required"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with nova_cloud.cloud(compute=False) as cloud, generations.switched_on(cloud, SEV):
        for driver, host in ((STOCK_DRIVER, STOCK), (SEV_DRIVER, OURS)):
            cloud.use_driver(driver)
            generations.start(cloud, host)
        yield cloud


@pytest.fixture(autouse=True)
def no_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova's fixtures make no disks, and make a call of the cast to the old host."""

    resize = rpcapi.ComputeAPI.resize_instance

    def cast(*args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(Exception):
            resize(*args, **kwargs)

    nova_cloud.move_no_disks(monkeypatch)
    monkeypatch.setattr(rpcapi.ComputeAPI, "resize_instance", cast)


def test_a_guest_without_machine_type_stays_where_it_runs(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=OURS)
    before = cloud.resources_of(server)
    cloud.attempt(server, {"migrate": None}, "ACTIVE")
    assert instance_of(server).host == OURS
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1
    assert "names no machine type, which the new host needs" in cloud.log
    assert cloud.resources_of(server) == before
    cloud._delete_server(server)


def test_a_guest_whose_image_names_it_moves(cloud: Cloud) -> None:
    server = cloud.boot(Q35, ASKED_BY_FLAVOR, host=OURS)
    cloud.act(server, {"migrate": None}, "VERIFY_RESIZE")
    assert instance_of(server).host == STOCK
    assert find(cloud.defined[-1], "launchSecurity").get("type") == "sev"
    cloud._delete_server(server)


def assert_still_encrypted_on_ours(cloud: Cloud, server: dict[str, Any]) -> None:
    assert instance_of(server).host == OURS
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1
    assert all("launchSecurity" in xml for xml in cloud.defined)


def test_a_guest_of_sev_model_stays_where_it_is_encrypted(cloud: Cloud) -> None:
    server = cloud.boot(Q35, BY_SEV_MODEL, host=OURS)
    before = cloud.resources_of(server)

    cloud.attempt(server, {"migrate": None}, "ACTIVE")

    assert_still_encrypted_on_ours(cloud, server)
    assert "stock Nova would start it in the clear" in cloud.log
    assert cloud.resources_of(server) == before
    cloud._delete_server(server)


def test_a_resize_to_a_flavor_of_sev_model_does_not_end_on_stock(cloud: Cloud) -> None:
    server = cloud.boot(Q35, ASKED_BY_FLAVOR, host=OURS)
    flavor = cloud.flavor("larger-by-sev-model", BY_SEV_MODEL)

    cloud.attempt(server, {"resize": {"flavorRef": flavor}}, "ACTIVE")

    assert_still_encrypted_on_ours(cloud, server)
    assert instance_of(server).flavor.name != "larger-by-sev-model"
    cloud._delete_server(server)


def test_a_guest_of_sev_model_stays_where_placement_does_not_say_what_the_host_has(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, context: Any, uuid: str) -> Any:
        raise nova_exception.ResourceProviderTraitRetrievalFailed(uuid=uuid)

    resize = rpcapi.ComputeAPI.resize_instance

    def resize_without_placement(*args: Any, **kwargs: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(SchedulerReportClient, "get_provider_traits", fail)
            resize(*args, **kwargs)

    server = cloud.boot(Q35, BY_SEV_MODEL, host=OURS)
    monkeypatch.setattr(rpcapi.ComputeAPI, "resize_instance", resize_without_placement)

    cloud.attempt(server, {"migrate": None}, "ACTIVE")

    assert_still_encrypted_on_ours(cloud, server)
    assert "does not say whether the new host has sev_driver" in cloud.log
    cloud._delete_server(server)


def test_a_flavor_of_sev_model_that_stock_hosts_may_take_is_warned_of(
    cloud: Cloud,
) -> None:
    warning = "Stock Nova would start this server in the clear, and flavor"
    before = cloud.log.count(warning)
    for flavor, warned in ((PROTECTED, 0), (ASKED_BY_FLAVOR, 0), (BY_SEV_MODEL, 1)):
        server = cloud.boot(Q35, flavor, host=OURS)
        assert cloud.log.count(warning) - before == warned
        cloud._delete_server(server)


def test_the_protective_flavor_finds_no_stock_host(cloud: Cloud) -> None:
    server = cloud.boot(Q35, PROTECTED, host=STOCK, state="ERROR")
    assert "No valid host" in cloud.fault(server)
    assert not cloud.defined
    cloud._delete_server(server)


@pytest.mark.parametrize("asker", ["flavor", "image"])
def test_from_stock_to_ours_and_back(asker: str, cloud: Cloud) -> None:
    image, flavor = nova_cloud.ASKERS[asker]
    server = cloud.boot(image | {"hw_machine_type": "q35"}, flavor, host=STOCK)
    steps: tuple[tuple[str, str, str], ...] = (
        ("migrate", "VERIFY_RESIZE", OURS),
        ("revertResize", "ACTIVE", STOCK),
        ("migrate", "VERIFY_RESIZE", OURS),
        ("confirmResize", "ACTIVE", OURS),
        ("migrate", "VERIFY_RESIZE", STOCK),
    )
    for action, state, host in steps:
        cloud.act(server, {action: None}, state)
        assert instance_of(server).host == host
        assert find(cloud.defined[-1], "launchSecurity").get("type") == "sev"
    cloud._delete_server(server)


def test_an_evacuation_to_stock_is_encrypted(cloud: Cloud) -> None:
    """Of a server whose image names no machine type: here the record has it."""
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=OURS)

    source = cloud.evacuate(server, OURS, STOCK)

    assert find(cloud.defined[0], "launchSecurity").get("type") == "sev"
    source.start()
    cloud.api.put_service_force_down(source.service_ref.uuid, False)
    cloud._delete_server(server)
