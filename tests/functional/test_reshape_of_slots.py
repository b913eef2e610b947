# SPDX-License-Identifier: Apache-2.0


"""Slots that move from one resource provider to another, with their guests."""

from collections.abc import Iterator
from typing import Any

import pytest
from generations import ES, IMAGES, SEV, SNP, asking, start, switched_on
from nova.conf import CONF
from nova_cloud import ASKED_BY_FLAVOR, SLOTS, UEFI, Cloud
from with_driver import SEV_DRIVER, STOCK_DRIVER

from sev_driver.compute import nova_compat
from sev_driver.model import MemoryEncryptionModel

SEV_TRAIT = "HW_CPU_X86_AMD_SEV"
Q35 = UEFI | {"hw_machine_type": "q35"}


@pytest.fixture
def cloud(empty_cloud: Cloud) -> Cloud:
    return empty_cloud


def as_nova_31_left_it(cloud: Cloud, host: str, *servers: dict[str, Any]) -> None:
    """Have the slots, and the guests', on the root provider, and no child."""
    api, providers = cloud.placement, cloud.providers(host)
    root, child = providers[host], providers[f"{host}_amd_sev"]
    inventories = f"/resource_providers/{root}/inventories"
    body = api.get(inventories).body
    body["inventories"]["MEM_ENCRYPTION_CONTEXT"] = {"total": SLOTS, "max_unit": 1}
    assert api.put(inventories, body).status == 200
    for server in servers:
        allocation = f"/allocations/{server['id']}"
        body = api.get(allocation, version="1.28").body
        moved = body["allocations"].pop(child)["resources"]
        body["allocations"][root]["resources"] |= moved
        assert api.put(allocation, body, version="1.28").status == 204
    assert api.delete(f"/resource_providers/{child}").status == 204


def slots_on_root(on: bool) -> None:
    CONF.set_override("slots_on_root_provider", on, group="sev")


def reshapes(cloud: Cloud) -> int:
    return cloud.log.count("Performing resource provider inventory and allocation")


def holds(cloud: Cloud, host: str, server: dict[str, Any]) -> dict[str, int]:
    """Return the slots that a server holds, by the name of the provider."""
    names = {uuid: name for name, uuid in cloud.providers(host).items()}
    return {
        names[uuid]: resources["MEM_ENCRYPTION_CONTEXT"]
        for uuid, resources in cloud.resources_of(server).items()
        if "MEM_ENCRYPTION_CONTEXT" in resources
    }


def test_what_nova_31_left_moves_to_the_child_with_its_guests(cloud: Cloud) -> None:
    host = cloud.start_compute("left-by-31")
    guests = [cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host) for _ in range(2)]
    before = [cloud.resources_of(guest) for guest in guests]
    as_nova_31_left_it(cloud, host, *guests)
    assert cloud.slot_inventories(host) == {host: (SLOTS, 0)}

    cloud.restart(host)

    child = f"{host}_amd_sev"
    assert cloud.slot_inventories(host) == {child: (SLOTS, 0)}
    for guest, held in zip(guests, before, strict=True):
        assert holds(cloud, host, guest) == {child: 1}
        assert sorted(map(str, cloud.resources_of(guest).values())) == sorted(
            map(str, held.values())
        )
    assert SEV_TRAIT in cloud.traits(child, host)
    assert SEV_TRAIT not in cloud.traits(host, host)


def test_what_nova_31_left_goes_without_a_reshape_where_no_guest_holds_it(
    cloud: Cloud,
) -> None:
    host = cloud.start_compute("left-without-guests")
    as_nova_31_left_it(cloud, host)
    before = reshapes(cloud)

    cloud.restart(host)

    assert cloud.slot_inventories(host) == {f"{host}_amd_sev": (SLOTS, 0)}
    assert reshapes(cloud) == before


def test_more_guests_than_slots_move_all_the_same(cloud: Cloud) -> None:
    host = cloud.start_compute("overcommitted")
    guests = [cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host) for _ in range(3)]
    as_nova_31_left_it(cloud, host, *guests)
    cloud.flags(group="libvirt", num_memory_encrypted_guests=2)

    cloud.restart(host)

    child = f"{host}_amd_sev"
    assert [holds(cloud, host, guest) for guest in guests] == [{child: 1}] * 3
    cloud._run_periodics()
    assert cloud.slot_inventories(host) == {child: (2, 0)}
    cloud.flags(group="libvirt", num_memory_encrypted_guests=None)


def test_guests_move_though_the_host_has_lost_sev(cloud: Cloud) -> None:
    host = cloud.start_compute("lost-and-moved")
    guest = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    as_nova_31_left_it(cloud, host, guest)
    cloud.kvm_parameters.sev = False

    cloud.restart(host)

    child = f"{host}_amd_sev"
    assert holds(cloud, host, guest) == {child: 1}
    cloud._run_periodics()
    assert cloud.slot_inventories(host) == {child: (1, 1)}


def test_to_the_root_and_back_by_the_option(cloud: Cloud) -> None:
    host = cloud.start_compute("there-and-back")
    guest = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    child = f"{host}_amd_sev"

    slots_on_root(True)
    cloud.restart(host)
    cloud._run_periodics()

    assert cloud.slot_inventories(host) == {host: (SLOTS, 0)}
    assert set(cloud.providers(host)) == {host}
    assert holds(cloud, host, guest) == {host: 1}
    assert SEV_TRAIT in cloud.traits(host, host)
    second = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    assert holds(cloud, host, second) == {host: 1}

    slots_on_root(False)
    cloud.restart(host)
    cloud._run_periodics()

    assert cloud.slot_inventories(host) == {child: (SLOTS, 0)}
    assert holds(cloud, host, guest) == holds(cloud, host, second) == {child: 1}
    assert SEV_TRAIT not in cloud.traits(host, host)


def test_stock_takes_over_what_is_on_the_root(cloud: Cloud) -> None:
    host = cloud.start_compute("back-to-stock")
    guest = cloud.boot(Q35, ASKED_BY_FLAVOR, host=host)
    slots_on_root(True)
    cloud.restart(host)

    cloud.use_driver(STOCK_DRIVER)
    cloud.restart(host)
    cloud._run_periodics()

    # Nova 32 and later moves it to the child itself.
    place = f"{host}_amd_sev" if nova_compat.installed_release().number >= 32 else host
    assert holds(cloud, host, guest) == {place: 1}
    assert set(cloud.slot_inventories(host)) == {place}
    second = cloud.boot(Q35, ASKED_BY_FLAVOR, host=host)
    assert holds(cloud, host, second) == {place: 1}

    # And ours takes over again, wherever it is.
    slots_on_root(False)
    cloud.use_driver(SEV_DRIVER)
    cloud.restart(host)
    child = f"{host}_amd_sev"
    assert holds(cloud, host, guest) == holds(cloud, host, second) == {child: 1}
    assert cloud.slot_inventories(host) == {child: (SLOTS, 0)}


def test_a_host_that_lost_sev_keeps_what_is_held_on_the_root(cloud: Cloud) -> None:
    host = cloud.start_compute("lost-on-root")
    guest = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    slots_on_root(True)
    cloud.restart(host)
    cloud.kvm_parameters.sev = False

    cloud.restart(host)
    cloud._run_periodics()

    assert cloud.slot_inventories(host) == {host: (1, 1)}
    assert SEV_TRAIT not in cloud.traits(host, host)
    cloud._delete_server(guest)
    cloud._run_periodics()
    assert cloud.slot_inventories(host) == {}


@pytest.fixture
def every_generation(cloud: Cloud) -> Iterator[Cloud]:
    """The cloud, whose next host has all three; SEV-ES has 2 slots of 15."""
    cloud.flags(num_sev_es_guests=2, group="sev")
    with switched_on(cloud, SEV, ES, SNP):
        yield cloud


@pytest.mark.parametrize("model", [ES, SNP])
def test_what_nova_31_does_not_know_is_kept_for_who_holds_it(
    every_generation: Cloud, model: MemoryEncryptionModel
) -> None:
    cloud = every_generation
    host = start(cloud, f"all-{model.value}")
    guest = cloud.boot(IMAGES[model], asking(model), host=host)
    child = f"{host}_{model.symbol}"
    before = cloud.slot_inventories(host)
    assert len(before) == 3
    assert holds(cloud, host, guest) == {child: 1}

    slots_on_root(True)
    cloud.restart(host)

    assert cloud.slot_inventories(host) == {host: (SLOTS, 0), child: (1, 1)}
    assert holds(cloud, host, guest) == {child: 1}
    assert f"{model.title} is not offered" in cloud.log

    slots_on_root(False)
    cloud.restart(host)

    assert cloud.slot_inventories(host) == before
    assert holds(cloud, host, guest) == {child: 1}


def test_what_guests_hold_beyond_an_option_is_gone_for_the_other_generation(
    every_generation: Cloud,
) -> None:
    cloud = every_generation
    host = start(cloud, "lowered")
    for _ in range(2):
        cloud.boot(IMAGES[ES], asking(ES), host=host)
    cloud.flags(num_sev_es_guests=1, group="sev")

    cloud._run_periodics()

    found = cloud.slot_inventories(host)
    assert found[f"{host}_amd_sev_es"] == (1, 0)
    assert found[f"{host}_amd_sev_snp"] == (14, 1)


@pytest.mark.parametrize("model", [ES, SNP])
def test_guests_keep_the_provider_of_a_generation_that_is_lost(
    every_generation: Cloud, model: MemoryEncryptionModel
) -> None:
    cloud = every_generation
    host = start(cloud, f"losing-{model.value}")
    guest = cloud.boot(IMAGES[model], asking(model), host=host)
    provider = f"{host}_{model.symbol}"
    before = cloud.slot_inventories(host)[provider]
    uuid = cloud.providers(host)[provider]
    setattr(cloud.kvm_parameters, model.symbol.removeprefix("amd_"), False)

    cloud._run_periodics()
    assert cloud.slot_inventories(host)[provider] == (1, 1)

    cloud.kvm_parameters.sev_es = cloud.kvm_parameters.sev_snp = True
    cloud._run_periodics()
    assert cloud.slot_inventories(host)[provider] == before
    assert cloud.providers(host)[provider] == uuid
    setattr(cloud.kvm_parameters, model.symbol.removeprefix("amd_"), False)
    cloud._delete_server(guest)
    cloud._run_periodics()
    assert provider not in cloud.providers(host)
