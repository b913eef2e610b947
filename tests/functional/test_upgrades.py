# SPDX-License-Identifier: Apache-2.0

"""What an upgrade of Nova meets: each release leaves the same, and takes it over.

Two releases do not run in one process. So each is held to one shape of what is
left in Placement, and meets guests as the others leave them.
"""

from collections.abc import Iterator
from typing import Any

import generations
import nova_cloud
import novas
import pytest
from generations import ES, SEV
from nova_cloud import ASKED_BY_FLAVOR, COMPUTE, UEFI, Cloud, find, instance_of

from sev_driver.driver import SEVDriver
from sev_driver.placement import providers

OTHER = "compute2"
SLOT = "MEM_ENCRYPTION_CONTEXT"
since_32 = pytest.mark.skipif(
    novas.RELEASE < 32, reason="the flavor is what these releases ask with themselves"
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with (
        nova_cloud.cloud(compute=False) as cloud,
        generations.switched_on(cloud, SEV, ES),
    ):
        for name in (COMPUTE, OTHER):
            generations.start(cloud, name)
        yield cloud


def test_slots_are_in_the_same_place_on_every_release(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=COMPUTE)
    providers = cloud.providers()
    totals = {
        name: cloud._get_provider_inventory(uuid)[SLOT]["total"]
        for name, uuid in providers.items()
        if SLOT in cloud._get_provider_inventory(uuid)
    }
    assert totals == {f"{COMPUTE}_amd_sev": 100, f"{COMPUTE}_amd_sev_es": 15}
    held = cloud._get_allocations_by_server_uuid(server["id"])
    child = held.pop(providers[f"{COMPUTE}_amd_sev"])
    assert child["resources"] == {SLOT: 1}
    assert [SLOT in root["resources"] for root in held.values()] == [False]


def es_trait() -> dict[str, str]:
    name = providers.choose(ES, providers.is_standard(ES)).wanted
    return {f"trait:{name}": "required"}


def serving_on_every_release() -> dict[str, str]:
    return {"sev:model": ES.value, f"resources:{SLOT}": "1"} | es_trait()


def as_nova_31_was_asked(server: dict[str, Any]) -> None:
    """Give a server the flavor keys that are refused for a new one since Nova 32."""
    instance = instance_of(server)
    keys = {**ASKED_BY_FLAVOR, "sev:model": ES.value, **es_trait()}
    instance.flavor.extra_specs = keys
    instance.save()


def test_a_flavor_that_serves_on_every_release(cloud: Cloud) -> None:
    cloud.boot(UEFI, serving_on_every_release())
    assert find(cloud.defined[0], "launchSecurity/policy").text == "0x0037"


@since_32
def test_a_guest_keeps_the_generation_that_it_asked_nova_31_for(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, serving_on_every_release(), host=COMPUTE)
    as_nova_31_was_asked(server)
    cloud.restart()
    cloud.defined.clear()
    cloud.hard_reboot(server)
    assert find(cloud.defined[0], "launchSecurity/policy").text == "0x0037"


def places(cloud: Cloud, server: dict[str, Any]) -> set[str]:
    """Return the names of the providers where a server holds slots."""
    held = cloud.resources_of(server)
    return {
        name
        for host in cloud.computes
        for name, uuid in cloud.providers(host).items()
        if SLOT in held.get(uuid, ())
    }


@since_32
def test_a_guest_of_an_old_flavor_moves_once_it_is_resized(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nova's fixtures make no disks, which could be moved.
    monkeypatch.setattr(
        SEVDriver, "migrate_disk_and_power_off", lambda *args, **kwargs: "{}"
    )
    server = cloud.boot(UEFI, serving_on_every_release(), host=COMPUTE)
    as_nova_31_was_asked(server)

    cloud.attempt(server, {"migrate": None}, "ACTIVE")
    assert "No valid host" in cloud.last_event(server)
    assert places(cloud, server) == {f"{COMPUTE}_amd_sev_es"}

    new = cloud.flavor("serves-on-every-release", serving_on_every_release())
    cloud.act(server, {"resize": {"flavorRef": new}}, "VERIFY_RESIZE")
    cloud.act(server, {"confirmResize": None}, "ACTIVE")
    assert places(cloud, server) == {f"{OTHER}_amd_sev_es"}

    cloud.defined.clear()
    cloud.act(server, {"migrate": None}, "VERIFY_RESIZE")
    assert find(cloud.defined[0], "launchSecurity/policy").text == "0x0037"
    cloud.act(server, {"confirmResize": None}, "ACTIVE")
    assert places(cloud, server) == {f"{COMPUTE}_amd_sev_es"}
