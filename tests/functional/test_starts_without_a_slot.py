# SPDX-License-Identifier: Apache-2.0

"""A plain guest whose record asks for encryption, as a refused rebuild can leave it.

It has no slot in Placement, its domain runs in the clear, and its disk was made for
another machine: no way of starting it may encrypt it, and none may lose it.
"""

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from keystoneauth1 import exceptions as ks_exc
from nova.tests.fixtures import cyborg
from nova_cloud import ASKED_BY_FLAVOR, ASKED_BY_IMAGE, UEFI, Cloud, instance_of

NO_SLOT = "but the server has no slot in Placement: "


def is_running(cloud: Cloud, server: dict[str, Any]) -> bool:
    state: int = cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"]
    return state == 1


def leave_asking_image(server: dict[str, Any], **properties: str) -> None:
    """Have Nova's record of ``server`` have an image that asks for encryption."""
    instance = instance_of(server)
    for name, value in (ASKED_BY_IMAGE | properties).items():
        instance.system_metadata[f"image_{name}"] = value
    instance.save()


@pytest.fixture
def asking(cloud: Cloud) -> Iterator[dict[str, Any]]:
    """A plain server that runs, with a record that asks for encryption."""
    server = cloud.boot(UEFI | {"hw_machine_type": "q35"})
    leave_asking_image(server)
    cloud.defined.clear()
    yield server
    cloud._delete_server(server)


def test_a_hard_reboot_is_refused_and_the_guest_goes_on(
    cloud: Cloud, asking: dict[str, Any]
) -> None:
    cloud.hard_reboot(asking)
    assert not cloud.defined
    assert is_running(cloud, asking)
    assert NO_SLOT + "shelve and unshelve the server" in cloud.log


def test_a_start_is_refused_and_the_domain_stays(
    cloud: Cloud, asking: dict[str, Any]
) -> None:
    cloud.act(asking, {"os-stop": None}, "SHUTOFF")
    cloud.attempt(asking, {"os-start": None}, "SHUTOFF")
    assert not cloud.defined
    assert cloud.driver.instance_exists(instance_of(asking))
    assert not is_running(cloud, asking)


def test_a_soft_reboot_is_refused_before_the_guest_is_shut_down(
    cloud: Cloud, asking: dict[str, Any]
) -> None:
    cloud.attempt(asking, {"reboot": {"type": "SOFT"}}, "ACTIVE")
    assert not cloud.defined
    assert is_running(cloud, asking)
    assert "has no launchSecurity" in cloud.log


def test_a_rescue_is_refused_before_the_guest_is_powered_off(
    cloud: Cloud, asking: dict[str, Any]
) -> None:
    cloud.attempt(asking, {"rescue": None}, "ERROR")
    assert not cloud.defined
    assert is_running(cloud, asking)
    assert NO_SLOT in cloud.fault(asking)


def test_a_rebuild_without_any_allocation_is_refused(
    cloud: Cloud, asking: dict[str, Any]
) -> None:
    """Nova deletes all allocations of a server whose rebuild was refused."""
    cloud.driver.virtapi.reportclient.delete_allocation_for_instance(
        cloud_context(), asking["id"], force=True
    )
    image = cloud.image("asks-again", **ASKED_BY_IMAGE, hw_machine_type="q35")
    cloud.attempt(asking, {"rebuild": {"imageRef": image}}, "ACTIVE")
    assert not cloud.defined
    assert is_running(cloud, asking)


def cloud_context() -> Any:
    from nova import context

    return context.get_admin_context()


# Placement away

CLIENT = "nova.scheduler.client.report.SchedulerReportClient"


@contextlib.contextmanager
def silent_placement() -> Iterator[None]:
    """Have Placement answer no question about what a server holds."""
    error = ks_exc.ConnectFailure("nobody listens")
    with mock.patch(f"{CLIENT}.get_allocs_for_consumer", side_effect=error):
        yield


def test_an_encrypted_guest_is_rebooted_while_placement_is_away(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.defined.clear()
    with silent_placement():
        cloud.hard_reboot(server)
    (xml,) = cloud.defined
    assert ET.fromstring(xml).find("launchSecurity") is not None
    cloud._delete_server(server)


def test_a_guest_in_the_clear_is_not_while_placement_is_away(
    cloud: Cloud, asking: dict[str, Any]
) -> None:
    with silent_placement():
        cloud.hard_reboot(asking)
    assert not cloud.defined
    assert is_running(cloud, asking)
    assert "Placement does not say whether it has a slot" in cloud.log


def test_an_encrypted_guest_without_a_slot_is_not_rebooted(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.driver.virtapi.reportclient.delete_allocation_for_instance(
        cloud_context(), server["id"], force=True
    )
    cloud.defined.clear()
    cloud.hard_reboot(server)
    assert not cloud.defined
    assert is_running(cloud, server)
    cloud._delete_server(server)


def test_a_guest_whose_flavor_asks_for_an_accelerator_is_not_rebooted(
    cloud: Cloud,
) -> None:
    """Cyborg's devices are devices of the host; stock Nova starts such a guest."""
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    instance = instance_of(server)
    instance.flavor.extra_specs["accel:device_profile"] = "fpga"
    instance.save()
    cloud.defined.clear()
    with cyborg.CyborgFixture():
        cloud.hard_reboot(server)
    assert not cloud.defined
    assert is_running(cloud, server)
    assert "accel:device_profile of flavor" in cloud.log
    cloud._delete_server(server)
