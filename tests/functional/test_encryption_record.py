# SPDX-License-Identifier: Apache-2.0

"""The record of a guest's encryption, by which an evacuation is refused.

The host of the guest has failed, so that nothing but the record says that a server that
no longer asks was encrypted.
"""

from collections.abc import Callable, Iterator
from typing import Any

import nova_cloud
import novas
import pytest
from nova import context as nova_context
from nova.cmd import manage as nova_manage
from nova.compute import vm_states
from nova_cloud import (
    ASKED_BY_IMAGE,
    COMPUTE,
    UEFI,
    Cloud,
    assert_encrypted,
)
from nova_cloud import driver_record as record
from test_lost_image_record import REFUSED

from sev_driver.compute.audit import Audit

OTHER = "compute2"
#: A trait of the other host: Nova refuses a rebuild on this one, but no evacuation.
ONLY_OTHER = "CUSTOM_ONLY_OTHER"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with nova_cloud.cloud() as cloud:
        cloud.start_compute(OTHER)
        cloud.add_trait(OTHER, ONLY_OTHER)
        yield cloud


def boot(cloud: Cloud, properties: Any = ASKED_BY_IMAGE) -> dict[str, Any]:
    return cloud.boot(properties, host=COMPUTE)


def refuse_rebuild(cloud: Cloud, server: dict[str, Any]) -> None:
    """Have nova-conductor refuse a rebuild, and the server be active again."""
    image = cloud.image("only-other", **UEFI, **{f"trait:{ONLY_OTHER}": "required"})
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ERROR")
    cloud.api.post_server_action(server["id"], {"os-resetState": {"state": "active"}})


def evacuate(cloud: Cloud, server: dict[str, Any], state: str) -> None:
    """The server's host fails, the server is evacuated, and the host comes back."""
    host = COMPUTE if state == "ERROR" else OTHER
    source = cloud.evacuate(server, COMPUTE, host, status=state)
    cloud.restart(COMPUTE)
    cloud.api.put_service_force_down(source.service_ref.uuid, False)


def test_evacuation_of_a_server_that_lost_its_request_is_refused(cloud: Cloud) -> None:
    server = boot(cloud)
    before = record(server)
    assert before == {"sev_driver_model": "amd-sev", "sev_driver_host": COMPUTE}
    refuse_rebuild(cloud, server)

    evacuate(cloud, server, "ERROR")

    assert cloud.defined == []
    assert REFUSED in cloud.fault(server)
    assert record(server) == before
    cloud._delete_server(server)


@pytest.mark.skipif(
    novas.RELEASE < 31, reason="this nova-manage does not correct the scheduler's image"
)
def test_corrected_server_is_evacuated_encrypted(cloud: Cloud) -> None:
    """By the steps of the manual."""
    server = boot(cloud)
    refuse_rebuild(cloud, server)
    evacuate(cloud, server, "ERROR")
    instance = nova_cloud.instance_of(server)
    instance._context = nova_context.get_admin_context()
    instance.vm_state = vm_states.STOPPED
    instance.save()
    correct = nova_manage.ImagePropertyCommands().set
    kept = {"hw_machine_type": "q35"} | ASKED_BY_IMAGE
    assert correct(server["id"], [f"{k}={v}" for k, v in kept.items()]) == 0

    evacuate(cloud, server, "SHUTOFF")

    assert_encrypted(cloud.defined[0])
    cloud._delete_server(server)


def test_evacuation_without_a_slot_on_the_new_host_is_refused(cloud: Cloud) -> None:
    """Nova's scheduler still has the refused image; the slot is the old host's."""
    image = cloud.image("asks-alone", **ASKED_BY_IMAGE)
    server = cloud.server(image, cloud.flavor("asks-nothing"), host=COMPUTE)
    refuse_rebuild(cloud, server)
    cloud.act(server, {"rebuild": {"imageRef": image}}, "ACTIVE")

    evacuate(cloud, server, "ERROR")

    assert cloud.defined == []
    assert "the server has no slot in Placement" in cloud.fault(server)
    cloud._delete_server(server)


def test_evacuation_of_a_server_that_asks_renews_the_record(cloud: Cloud) -> None:
    server = boot(cloud)
    evacuate(cloud, server, "SHUTOFF")
    assert_encrypted(cloud.defined[0])
    assert record(server)["sev_driver_host"] == OTHER
    cloud._delete_server(server)


def by_rebuild(cloud: Cloud, server: dict[str, Any]) -> None:
    image = cloud.image("plain-by-choice", **UEFI)
    cloud.act(server, {"rebuild": {"imageRef": image}}, "ACTIVE")


def by_rebuild_without_driver(cloud: Cloud, server: dict[str, Any]) -> None:
    """As Nova's own driver leaves it, on a host that has this one again."""
    by_rebuild(cloud, server)
    store(server, sev_driver_model="amd-sev", sev_driver_host=COMPUTE)
    Audit(cloud.driver._host, stop=False).run(COMPUTE)


def by_a_start_without_driver(cloud: Cloud, server: dict[str, Any]) -> None:
    """Another host has rebuilt it since, by Nova's own driver."""
    by_rebuild(cloud, server)
    store(server, sev_driver_model="amd-sev", sev_driver_host="of-another-driver")


def store(server: dict[str, Any], **items: str) -> None:
    instance = nova_cloud.instance_of(server)
    instance._context = nova_context.get_admin_context()
    instance.system_metadata.update(items)
    instance.save()


@pytest.mark.parametrize(
    "change", [by_rebuild, by_rebuild_without_driver, by_a_start_without_driver]
)
def test_evacuation_of_a_server_that_its_user_made_plain_is_plain(
    cloud: Cloud, change: Callable[[Cloud, dict[str, Any]], None]
) -> None:
    server = boot(cloud)
    change(cloud, server)
    evacuate(cloud, server, "SHUTOFF")
    assert "launchSecurity" not in cloud.defined[0]
    assert record(server) == {}
    cloud._delete_server(server)


def test_plain_server_has_no_record(cloud: Cloud) -> None:
    server = boot(cloud, UEFI)
    cloud.hard_reboot(server)
    evacuate(cloud, server, "SHUTOFF")
    assert record(server) == {}
    cloud._delete_server(server)


def test_audit_records_what_an_earlier_version_has_started(cloud: Cloud) -> None:
    server = boot(cloud)
    instance = nova_cloud.instance_of(server)
    instance._context = nova_context.get_admin_context()
    expected = record(server)
    for key in expected:
        del instance.system_metadata[key]
    instance.save()
    assert record(server) == {}
    Audit(cloud.driver._host, stop=False).run(COMPUTE)
    assert record(server) == expected
    cloud._delete_server(server)
