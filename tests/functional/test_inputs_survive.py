# SPDX-License-Identifier: Apache-2.0

"""Launch inputs survive the operations of a guest's life on two hosts."""

import base64
from collections.abc import Iterator
from typing import Any

import generations
import nova_cloud
import owners_keys
import pytest
from generations import IMAGES, SEV, SNP, asking
from nova.compute import power_state
from nova_cloud import Cloud, find, instance_of, move_no_disks

HERE, THERE = "here", "there"
BLOCK, AUTH = owners_keys.sign(policy=0x30001)
INPUTS = {
    "sev:host_data": "11" * 32,
    "sev:policy": "0x30001",
    **owners_keys.as_metadata(BLOCK, AUTH),
}
WRONG = {"sev:host_data": "11" * 31}
IN_BASE64 = base64.b64encode(b"\x22" * 32).decode()
SAID = "sev:host_data of the server has 31 bytes, but AMD SEV-SNP takes 32 bytes"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with (
        nova_cloud.cloud(compute=False) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        cloud.flags(shelved_offload_time=0)
        move_no_disks(patch)
        nova_cloud.cast_resizes(patch)
        with generations.switched_on(cloud, SEV, generations.ES, SNP):
            for name in (HERE, THERE):
                generations.start(cloud, name)
            yield cloud


@pytest.fixture
def server(cloud: Cloud) -> Iterator[dict[str, Any]]:
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=INPUTS, host=HERE)
    see_launched_with_inputs(cloud)
    yield server
    cloud._delete_server(server)


def see_launched_with_inputs(cloud: Cloud) -> None:
    """See it in the domain that was defined last, and forget that one."""
    security = find(cloud.defined[-1], "launchSecurity")
    cloud.defined.clear()
    found = {child.tag: child.text for child in security}
    expected = owners_keys.in_domain(BLOCK, AUTH, "11" * 32)
    expected |= {"policy": "0x00030001"}
    assert expected.items() <= found.items()


def host_of(server: dict[str, Any]) -> str:
    return str(instance_of(server).host)


def test_operations_on_one_host(cloud: Cloud, server: dict[str, Any]) -> None:
    image = cloud.image("another", **IMAGES[SNP])
    for actions in (
        (({"reboot": {"type": "HARD"}}, "ACTIVE"),),
        (({"os-stop": None}, "SHUTOFF"), ({"os-start": None}, "ACTIVE")),
        (({"rescue": {}}, "RESCUE"),),
        (({"unrescue": None}, "ACTIVE"),),
        (({"rebuild": {"imageRef": image}}, "ACTIVE"),),
        (({"shelve": None}, "SHELVED_OFFLOADED"), ({"unshelve": None}, "ACTIVE")),
    ):
        for action, state in actions:
            cloud.act(server, action, state)
        see_launched_with_inputs(cloud)


def test_inputs_changed_before_a_rescue(cloud: Cloud, server: dict[str, Any]) -> None:
    """Unrescue starts the domain from before, and metadata cannot be changed there."""
    other = {"sev:host_data": "22" * 32}
    cloud.api.post_server_metadata(server["id"], other)
    cloud.act(server, {"rescue": {}}, "RESCUE")
    assert find(cloud.defined[-1], "launchSecurity/hostData").text == IN_BASE64
    cloud.defined.clear()
    cloud.act(server, {"unrescue": None}, "ACTIVE")
    see_launched_with_inputs(cloud)
    cloud.hard_reboot(server)
    assert find(cloud.defined[-1], "launchSecurity/hostData").text == IN_BASE64


@pytest.mark.parametrize("action", ["migrate", "resize"])
def test_moves(cloud: Cloud, server: dict[str, Any], action: str) -> None:
    larger = cloud.flavor("larger", asking(SNP), vcpus=4)
    given = {"flavorRef": larger} if action == "resize" else None
    cloud.act(server, {action: given}, "VERIFY_RESIZE")
    assert host_of(server) == THERE
    see_launched_with_inputs(cloud)
    cloud.act(server, {"revertResize": None}, "ACTIVE")
    assert host_of(server) == HERE
    see_launched_with_inputs(cloud)


def runs(cloud: Cloud, server: dict[str, Any]) -> bool:
    driver = cloud.computes[HERE].driver
    return bool(driver.get_info(instance_of(server)).state == power_state.RUNNING)


def test_cold_migration_with_wrong_inputs_leaves_the_server(
    cloud: Cloud, server: dict[str, Any]
) -> None:
    cloud.api.post_server_metadata(server["id"], WRONG)
    cloud.attempt(server, {"migrate": None}, "ACTIVE")
    assert SAID in cloud.last_event(server)
    assert host_of(server) == HERE and runs(cloud, server)
    assert not cloud.defined


def test_evacuation(cloud: Cloud, server: dict[str, Any]) -> None:
    failed = cloud.evacuate(server, HERE, THERE)
    see_launched_with_inputs(cloud)
    failed.start()
    cloud.api.put_service_force_down(failed.service_ref.uuid, False)


def test_evacuation_with_wrong_inputs_starts_nothing(
    cloud: Cloud, server: dict[str, Any]
) -> None:
    """Nova puts the server into ERROR, and an administrator ends that."""
    cloud.api.post_server_metadata(server["id"], WRONG)
    failed = cloud.evacuate(server, HERE, HERE, status="ERROR")
    assert not cloud.defined
    assert SAID in cloud.fault(server)

    cloud.api.post_server_action(server["id"], {"os-resetState": {"state": "active"}})
    cloud.api.post_server_metadata(server["id"], INPUTS)
    cloud.api.post_server_action(server["id"], {"evacuate": {}})
    moved = {"OS-EXT-SRV-ATTR:host": THERE, "OS-EXT-STS:task_state": None}
    cloud._wait_for_server_parameter(server, moved)
    see_launched_with_inputs(cloud)
    failed.start()
    cloud.api.put_service_force_down(failed.service_ref.uuid, False)
