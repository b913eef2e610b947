# SPDX-License-Identifier: Apache-2.0

"""A rebuild that nova-conductor refuses leaves the refused image's properties.

Then a server whose image alone asked for encryption asks no longer.
"""

from typing import Any

import pytest
from nova_cloud import ASKED_BY_IMAGE, UEFI, Cloud, assert_encrypted, instance_of

NO_HOST = {"trait:CUSTOM_NOWHERE": "required"}
REFUSED = "neither its flavor nor Nova's record of its image asks for it now"


@pytest.fixture
def image(cloud: Cloud) -> str:
    return cloud.image("asks-by-itself", **ASKED_BY_IMAGE)


@pytest.fixture
def server(cloud: Cloud, image: str) -> Any:
    """A server in ERROR: its guest runs encrypted, and its record does not ask."""
    server = cloud.server(image, cloud.flavor("does-not-ask", {}))
    refuse_rebuild(cloud, server)
    yield server
    cloud._delete_server(server)


def refuse_rebuild(cloud: Cloud, server: dict[str, Any]) -> None:
    refused = cloud.image("nowhere", **UEFI, **NO_HOST)
    cloud.attempt(server, {"rebuild": {"imageRef": refused}}, "ERROR")
    assert not instance_of(server).system_metadata.get("image_hw_mem_encryption")
    cloud.defined.clear()


@pytest.mark.parametrize(
    ("action", "state"),
    [({"reboot": {"type": "HARD"}}, "ACTIVE"), ({"rescue": {}}, "ERROR")],
    ids=["reboot", "rescue"],
)
def test_it_is_not_started_in_the_clear(
    cloud: Cloud, server: dict[str, Any], action: Any, state: str
) -> None:
    cloud.attempt(server, action, state)
    assert cloud.defined == []
    # For the user, Nova's reboot of a guest that still runs is a success.
    assert (REFUSED in cloud.last_event(server)) is (state == "ERROR")


@pytest.mark.parametrize(
    ("action", "state"), [("os-start", "SHUTOFF"), ("shelve", "SHUTOFF")]
)
def test_nor_when_it_was_stopped(
    cloud: Cloud, server: dict[str, Any], action: str, state: str
) -> None:
    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    cloud.attempt(server, {action: None}, state)
    assert cloud.defined == []
    assert REFUSED in cloud.last_event(server)


def test_it_can_be_rebuilt_from_its_image(
    cloud: Cloud, server: dict[str, Any], image: str
) -> None:
    cloud.act(server, {"rebuild": {"imageRef": image}}, "ACTIVE")
    assert_encrypted(cloud.defined.pop())


def test_it_can_be_rebuilt_in_the_clear(cloud: Cloud, server: dict[str, Any]) -> None:
    plain = cloud.image("plain-again", **UEFI)
    cloud.act(server, {"rebuild": {"imageRef": plain}}, "ACTIVE")
    assert "launchSecurity" not in cloud.defined.pop()
    cloud.hard_reboot(server)


def test_a_corrected_record_starts_it_encrypted(
    cloud: Cloud, server: dict[str, Any]
) -> None:
    instance = instance_of(server)
    instance.system_metadata["image_hw_mem_encryption"] = "true"
    instance.save()
    cloud.hard_reboot(server)
    assert_encrypted(cloud.defined.pop())


def test_a_plain_server_is_not_concerned(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, {})
    refuse_rebuild(cloud, server)
    cloud.hard_reboot(server)
    assert "launchSecurity" not in cloud.defined.pop()
    cloud._delete_server(server)
