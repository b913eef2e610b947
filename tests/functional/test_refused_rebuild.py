# SPDX-License-Identifier: Apache-2.0

"""A rebuild that fails before the guest is touched takes nothing from it."""

from collections.abc import Mapping
from typing import Any

import pytest
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import manager
from nova_cloud import (
    ASKED_BY_FLAVOR,
    ASKED_BY_IMAGE,
    UEFI,
    Cloud,
    assert_encrypted,
    instance_of,
)

UNFIT = {"hw_disk_bus": "ide"}
#: What Nova's API replaces in a rebuild, and a guest is started by.
REPLACED = (
    "image_ref",
    "kernel_id",
    "ramdisk_id",
    "os_type",
    "architecture",
    "vm_mode",
    "auto_disk_config",
)


def record(server: dict[str, Any]) -> dict[str, Any]:
    """Return what Nova has stored of the server's image."""
    instance = instance_of(server)
    return {name: getattr(instance, name) for name in REPLACED} | dict(
        instance.system_metadata
    )


def requested_image(server: dict[str, Any]) -> tuple[str, Any, Any]:
    """Return the image by which Nova's scheduler finds a host for the server.

    And what it asks for, and its disk's bus, virtio by default.
    """
    spec = objects.RequestSpec.get_by_instance_uuid(
        nova_context.get_admin_context(), server["id"]
    )
    properties = spec.image.properties
    bus = properties.get("hw_disk_bus") or "virtio"
    return spec.image.id, properties.get("hw_mem_encryption"), bus


def refuse_rebuild(
    cloud: Cloud, server: dict[str, Any], name: str, **properties: str
) -> None:
    """Have the driver refuse a rebuild from a new image with these properties."""
    image = cloud.image(name, **{**UEFI, **(properties or UNFIT)})
    cloud.defined.clear()
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ACTIVE")
    assert not cloud.defined
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1
    assert "Error" in str(last_results(cloud, server))


def last_results(cloud: Cloud, server: dict[str, Any]) -> list[str]:
    action = cloud.api.get_instance_actions(server["id"])[0]
    events = cloud.api.get_instance_action_details(server["id"], action["request_id"])
    return [event["result"] for event in events["events"]]


@pytest.mark.parametrize(
    ("image", "flavor", "unfit"),
    [
        (UEFI, ASKED_BY_FLAVOR, UNFIT),
        (ASKED_BY_IMAGE, {}, {**ASKED_BY_IMAGE, **UNFIT}),
        (
            UEFI | {"hw_machine_type": "q35", "os_type": "linux"},
            ASKED_BY_FLAVOR,
            {**UNFIT, "os_type": "windows", "hw_machine_type": "pc-q35-9.0"},
        ),
    ],
    ids=["asked by the flavor", "asked by the image", "with other properties"],
)
def test_the_image_of_a_refused_rebuild_is_not_kept(
    image: Mapping[str, str],
    flavor: Mapping[str, str],
    unfit: dict[str, str],
    cloud: Cloud,
) -> None:
    server = cloud.boot(image, flavor)
    before, wanted = record(server), requested_image(server)
    shown = cloud.api.get_server(server["id"])["image"]
    refuse_rebuild(cloud, server, f"unkept-{server['id']}", **unfit)
    assert record(server) == before
    assert requested_image(server) == wanted
    assert cloud.api.get_server(server["id"])["image"] == shown
    cloud._delete_server(server)


def test_a_refused_rebuild_leaves_a_server_that_can_be_started(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, config_drive=True)
    refuse_rebuild(cloud, server, "unstartable")
    cloud.hard_reboot(server)
    assert_encrypted(cloud.defined.pop())
    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    cloud.act(server, {"os-start": None}, "ACTIVE")
    assert_encrypted(cloud.defined.pop())
    cloud.act(server, {"rescue": None}, "RESCUE")
    assert_encrypted(cloud.defined.pop())
    cloud.act(server, {"unrescue": None}, "ACTIVE")
    cloud.act(server, {"shelve": None}, "SHELVED_OFFLOADED")
    cloud.act(server, {"unshelve": None}, "ACTIVE")
    assert_encrypted(cloud.defined.pop())
    cloud._delete_server(server)


def test_a_rebuild_is_possible_after_one_that_was_refused(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    held = cloud.resources_of(server)
    refuse_rebuild(cloud, server, "refused-first")
    fit = cloud.image("fit-then", **UEFI)
    cloud._rebuild_server(server, fit)
    assert_encrypted(cloud.defined.pop())
    assert record(server)["image_ref"] == fit
    assert cloud.resources_of(server) == held
    cloud._delete_server(server)


def test_a_refused_rebuild_keeps_the_allocations(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    held = cloud.resources_of(server)
    refuse_rebuild(cloud, server, "allocations-kept")
    assert cloud.resources_of(server) == held
    cloud.restart()
    cloud._run_periodics()
    assert cloud.resources_of(server) == held
    cloud._delete_server(server)
    assert not cloud.resources_of(server)


def test_memory_is_not_given_twice_by_a_refused_rebuild(cloud: Cloud) -> None:
    most = 10_000_000  # MiB; Nova's fake host has 16,780,000
    size = {"vcpu": 1, "memory_mb": most, "disk": 1, "ephemeral": 0}
    cloud._create_flavor(id="big", name="big", extra_spec=ASKED_BY_FLAVOR, **size)
    fit = cloud.image("big-fit", **UEFI)
    first = cloud.server(fit, "big")
    refuse_rebuild(cloud, first, "big-unfit")
    second = cloud.server(fit, "big", state="ERROR")
    assert "No valid host" in cloud.fault(second)
    cloud._delete_server(first)
    cloud._delete_server(second)


def test_a_plain_guest_whose_rebuild_is_refused_stays_plain(cloud: Cloud) -> None:
    """Nova asks Placement for no slot in a rebuild on the same host."""
    server = cloud.boot({"hw_machine_type": "pc"})
    before, held, used = record(server), cloud.resources_of(server), cloud.slots_used()
    for attempt in ("once", "twice"):
        refuse_rebuild(cloud, server, f"asking-{attempt}", **ASKED_BY_IMAGE)
        assert cloud.log.count("the server has no slot in Placement") >= 1
        assert record(server) == before
        assert cloud.resources_of(server) == held
    cloud.hard_reboot(server)
    (xml,) = cloud.defined
    assert "launchSecurity" not in xml and "q35" not in xml
    assert cloud.slots_used() == used
    cloud._delete_server(server)


def test_a_rebuild_that_nova_refuses_takes_nothing_either(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for certificates that this host does not support: no driver is asked."""
    server = cloud.boot(ASKED_BY_IMAGE, {})
    before, held = record(server), cloud.resources_of(server)

    def refuse(*args: Any) -> None:
        raise nova_exception.BuildAbortException(
            instance_uuid=server["id"], reason="the host cannot verify certificates"
        )

    monkeypatch.setattr(manager.ComputeManager, "_check_trusted_certs", refuse)
    image = cloud.image("for-certificates")
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ERROR")
    monkeypatch.undo()
    assert record(server) == before
    assert cloud.resources_of(server) == held
    cloud.defined.clear()
    cloud.hard_reboot(server)
    assert_encrypted(cloud.defined.pop())
    cloud._delete_server(server)


def test_a_rebuild_that_fails_late_keeps_the_allocations_and_the_new_image(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old disk is gone by then, and the server stays on this host."""
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    held = cloud.resources_of(server)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise nova_exception.ImageUnacceptable(image_id="x", reason="a test says so")

    monkeypatch.setattr(cloud.driver, "_create_image", fail, raising=True)
    image = cloud.image("fails-late", **UEFI)
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ERROR")
    monkeypatch.undo()
    assert record(server)["image_ref"] == image
    assert cloud.resources_of(server) == held
    cloud._delete_server(server)


def test_a_plain_guest_whose_rebuild_fails_is_left_to_nova(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cloud.boot()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise nova_exception.ImageUnacceptable(image_id="x", reason="a test says so")

    monkeypatch.setattr(cloud.driver, "_create_image", fail)
    image = cloud.image("plain-fails")
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ERROR")
    assert record(server)["image_ref"] == image
    assert not cloud.resources_of(server)
    cloud._delete_server(server)
