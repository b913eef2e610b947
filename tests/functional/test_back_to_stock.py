# SPDX-License-Identifier: Apache-2.0

"""The way from this driver back to stock Nova, in the order of the manual."""

from collections.abc import Iterator
from typing import Any

import generations
import pytest
from generations import ES, SEV, SNP
from nova.conf import CONF
from nova_cloud import ASKED_BY_FLAVOR, UEFI, Cloud
from with_driver import SEV_DRIVER, STOCK_DRIVER

from sev_driver.compute import nova_compat
from sev_driver.model import HOST_TRAIT

Q35 = UEFI | {"hw_machine_type": "q35"}
SLOT = "resources:MEM_ENCRYPTION_CONTEXT"
BY_SEV_MODEL = {"sev:model": "amd-sev", SLOT: "1", f"trait:{SEV.trait}": "required"}
#: As in the manual: what keeps guests of sev:model off hosts with stock Nova.
PROTECTED = BY_SEV_MODEL | {f"trait:{HOST_TRAIT}": "required"}
RELEASE = nova_compat.installed_release()
CLEAR = "Stock Nova would start this server in the clear"


@pytest.fixture
def cloud(empty_cloud: Cloud) -> Iterator[Cloud]:
    empty_cloud.defined.clear()
    with generations.switched_on(empty_cloud, SEV, ES, SNP):
        empty_cloud.flags(num_sev_es_guests=2, group="sev")
        yield empty_cloud


def prepare(cloud: Cloud, host: str, prepared: bool = True) -> None:
    CONF.set_override("prepare_for_stock_nova", prepared, group="sev")
    cloud.restart(host)
    cloud._run_periodics()


def change_driver(cloud: Cloud, host: str, driver: str) -> None:
    cloud.use_driver(driver)
    cloud.restart(host)
    cloud._run_periodics()


def held(cloud: Cloud, host: str, server: dict[str, Any]) -> list[str]:
    """Return the names of the providers of which a server holds a slot."""
    names = {uuid: name for name, uuid in cloud.providers(host).items()}
    return [
        names[uuid]
        for uuid, resources in cloud.resources_of(server).items()
        if "MEM_ENCRYPTION_CONTEXT" in resources
    ]


def refused(cloud: Cloud, flavor: dict[str, str], host: str) -> str:
    """Return why a new server is not built; nothing of it may have been started."""
    before = len(cloud.defined)
    server = cloud.boot(Q35, flavor, host=host, state="ERROR")
    assert len(cloud.defined) == before
    fault = cloud.fault(server)
    cloud._delete_server(server)
    return fault


def test_a_protected_guest_finds_no_host_after_the_way_back(cloud: Cloud) -> None:
    host = generations.start(cloud, "back")
    kept = cloud.boot(Q35, ASKED_BY_FLAVOR, host=host)
    cloud.boot(Q35, PROTECTED, host=host)

    prepare(cloud, host)

    assert HOST_TRAIT not in cloud.traits(host, host)
    place = f"{host}_amd_sev" if RELEASE.scheduler_chooses_model else host
    assert held(cloud, host, kept) == [place]
    assert "No valid host" in refused(cloud, PROTECTED, host)

    change_driver(cloud, host, STOCK_DRIVER)

    assert "No valid host" in refused(cloud, PROTECTED, host)
    assert HOST_TRAIT not in cloud.traits(host, host)
    assert held(cloud, host, kept) == [place]
    cloud.defined.clear()
    cloud.hard_reboot(kept)
    cloud.boot(Q35, ASKED_BY_FLAVOR, host=host)
    assert ["launchSecurity" in xml for xml in cloud.defined] == [True, True]

    CONF.set_override("prepare_for_stock_nova", False, group="sev")
    change_driver(cloud, host, SEV_DRIVER)

    assert HOST_TRAIT in cloud.traits(host, host)
    assert held(cloud, host, kept) == [f"{host}_amd_sev"]
    cloud.boot(Q35, PROTECTED, host=host)
    assert "launchSecurity" in cloud.defined[-1]


def test_models_that_stock_does_not_know_are_withheld(cloud: Cloud) -> None:
    host = generations.start(cloud, "withheld")
    before = {f"{host}_amd_sev", f"{host}_amd_sev_es", f"{host}_amd_sev_snp"}
    assert set(cloud.slot_inventories(host)) == before

    prepare(cloud, host)

    after = {
        31: {host},
        33: {f"{host}_amd_sev", f"{host}_amd_sev_es"},
        34: before,
    }
    number = next(number for number in after if RELEASE.number <= number)
    assert set(cloud.slot_inventories(host)) == after[number]

    prepare(cloud, host, prepared=False)
    assert set(cloud.slot_inventories(host)) == before


def test_a_prepared_host_builds_nothing_that_stock_would_start_in_the_clear(
    cloud: Cloud,
) -> None:
    host = generations.start(cloud, "prepared")
    server = cloud.boot(Q35, BY_SEV_MODEL, host=host)
    cloud.boot(Q35, ASKED_BY_FLAVOR, host=host)
    before = cloud.log.count(f"{CLEAR}: delete, resize or migrate it")

    prepare(cloud, host)

    assert cloud.log.count(f"{CLEAR}: delete, resize or migrate it") == before + 1
    assert "This host is prepared for stock Nova" in cloud.log
    refused(cloud, BY_SEV_MODEL, host)
    assert "which would start it in the clear" in cloud.log
    image = cloud.image("for-a-rebuild", **Q35)
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ACTIVE")
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1
    cloud.hard_reboot(server)
    assert "launchSecurity" in cloud.defined[-1]
    prepare(cloud, host, prepared=False)


def test_slots_of_a_withheld_model_stay_with_their_guests(cloud: Cloud) -> None:
    if SNP in RELEASE.stock_models:
        pytest.skip("stock Nova knows every model")
    host = generations.start(cloud, "holding")
    image, flavor = generations.IMAGES[SNP], generations.asking(SNP)
    guest = cloud.boot(image, flavor, host=host)

    prepare(cloud, host)

    assert cloud.slot_inventories(host)[f"{host}_amd_sev_snp"] == (1, 1)
    assert held(cloud, host, guest) == [f"{host}_amd_sev_snp"]
    assert "AMD SEV-SNP is not offered ([sev] prepare_for_stock_nova)" in cloud.log
    change_driver(cloud, host, STOCK_DRIVER)
    before = len(cloud.defined)
    second = cloud.boot(image, flavor, host=host, state="ERROR")
    assert len(cloud.defined) == before
    cloud._delete_server(second)
