# SPDX-License-Identifier: Apache-2.0

"""A user who takes the encryption away sees that among the events of the request."""

from collections.abc import Iterator
from typing import Any

import nova_cloud
import pytest
from generations import SEV, start, switched_on
from nova import exception as nova_exception
from nova.compute import utils as compute_utils
from nova_cloud import ASKED_BY_FLAVOR, ASKED_BY_IMAGE, UEFI, Cloud

EVENT = "memory_encryption_removed"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with (
        nova_cloud.cloud(compute=False) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        cloud.flags(allow_resize_to_same_host=True)
        nova_cloud.move_no_disks(patch)
        with switched_on(cloud, SEV):
            start(cloud)
            yield cloud


def events(cloud: Cloud, server: dict[str, Any], action: str) -> set[str]:
    """Return what a member of the project sees of the last such action."""
    user = cloud.api_fixture.api
    user.microversion = "latest"
    found = user.get_instance_actions(server["id"])
    request = next(each["request_id"] for each in found if each["action"] == action)
    details = user.get_instance_action_details(server["id"], request)
    assert all(each["result"] == "Success" for each in details["events"])
    return {each["event"] for each in details["events"]}


@pytest.mark.parametrize(
    ("keys", "shown"), [({}, True), (ASKED_BY_FLAVOR, False)], ids=["plain", "sev"]
)
def test_a_resize(cloud: Cloud, keys: dict[str, str], shown: bool) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    flavor = cloud.flavor(f"after-{shown}", keys)
    cloud.act(server, {"resize": {"flavorRef": flavor}}, "VERIFY_RESIZE")
    assert (EVENT in events(cloud, server, "resize")) is shown
    cloud._delete_server(server)


@pytest.mark.parametrize(
    ("image", "shown"), [(UEFI, True), (ASKED_BY_IMAGE, False)], ids=["plain", "sev"]
)
def test_a_rebuild(cloud: Cloud, image: dict[str, str], shown: bool) -> None:
    server = cloud.boot(ASKED_BY_IMAGE)
    cloud._rebuild_server(server, cloud.image(f"after-{shown}", **image))
    assert (EVENT in events(cloud, server, "rebuild")) is shown
    cloud._delete_server(server)


def test_a_conductor_that_does_not_answer(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = compute_utils.EventReporter.__enter__

    def enter(reporter: Any) -> Any:
        if reporter.event_name == EVENT:
            raise nova_exception.InstanceActionNotFound(
                request_id="x", instance_uuid="x"
            )
        return original(reporter)

    monkeypatch.setattr(compute_utils.EventReporter, "__enter__", enter)
    server = cloud.boot(ASKED_BY_IMAGE)
    cloud._rebuild_server(server, cloud.image("unanswered", **UEFI))
    assert EVENT not in events(cloud, server, "rebuild")
    cloud._delete_server(server)
