# SPDX-License-Identifier: Apache-2.0

"""What a rebuild that fails gives back, and to which servers."""

import inspect
import types
from typing import Any
from unittest import mock

import pytest
from nova import exception as nova_exception
from nova import objects, safe_utils
from nova.compute import manager as compute_manager
from nova.compute import resource_tracker
from nova_instances import UUID, instance

from sev_driver.compute import failed_rebuilds, nova_compat
from sev_driver.compute.failed_rebuilds import Rebuild

ASKS = {"hw:mem_encryption": "true"}
OLD, NEW = "old-image", "new-image"


@pytest.mark.parametrize(
    ("extra_specs", "records", "asks"),
    [
        ({}, [{}], False),
        ({}, [], False),
        (ASKS, [{}], True),
        ({"hw:mem_encryption": "false"}, [{}], False),
        ({"hw:mem_encryption_model": "amd-sev"}, [{}], False),
        ({"sev:model": "amd-sev-snp"}, [{}], True),
        ({}, [{"image_hw_mem_encryption": "True"}, {}], True),
        ({}, [{}, {"image_hw_mem_encryption": "1"}], True),
        ({}, [{"image_hw_mem_encryption": "false"}], False),
        ({}, [{"hw_mem_encryption": "true"}], False),
        (ASKS | {"hw:mem_encryption_model": "intel-tdx"}, [{}], True),
    ],
)
def test_may_ask(
    extra_specs: dict[str, str], records: list[dict[str, str]], asks: bool
) -> None:
    assert failed_rebuilds.may_ask(extra_specs, *records) is asks


@pytest.mark.parametrize(
    ("now", "before", "restored"),
    [
        ({}, {}, {}),
        ({"image_a": "new"}, {"image_a": "old"}, {"image_a": "old"}),
        ({"image_new": "1"}, {"image_old": "2"}, {"image_old": "2"}),
        # What is not the image's may have changed since, and stays.
        ({"other": "now"}, {"other": "before", "gone": "x"}, {"other": "now"}),
    ],
)
def test_previous_metadata(
    now: dict[str, str], before: dict[str, str], restored: dict[str, str]
) -> None:
    assert failed_rebuilds.previous_metadata(now, before) == restored


NOTHING = {
    "os_type": None,
    "architecture": None,
    "vm_mode": None,
    "kernel_id": "",
    "ramdisk_id": "",
}


@pytest.mark.parametrize(
    ("image_ref", "metadata", "columns"),
    [
        (NEW, {}, NOTHING | {"image_ref": OLD}),
        # Empty is Nova's sign of a server that boots from a volume.
        ("", {}, NOTHING),
        (
            NEW,
            {"image_os_type": "linux", "image_kernel_id": "k", "image_ramdisk_id": "r"},
            NOTHING
            | {"image_ref": OLD}
            | {"os_type": "linux", "kernel_id": "k", "ramdisk_id": "r"},
        ),
    ],
)
def test_previous_columns(
    image_ref: str, metadata: dict[str, str], columns: dict[str, Any]
) -> None:
    rebuild = Rebuild(UUID, OLD, metadata)
    assert failed_rebuilds.previous_columns(image_ref, rebuild) == columns


# In a compute manager


class Manager:
    """What of Nova's takes part."""

    def __init__(self, fail: Any) -> None:
        self._fail = fail
        self.deleted: list[str] = []
        self.rt = types.SimpleNamespace(
            delete_allocation_for_evacuated_instance=self._delete
        )

    def _delete(self, context: Any, instance: Any, node: str, node_type: str) -> None:
        self.deleted.append(instance.uuid)

    def rebuild_instance(self, context: Any, instance: Any, *args: Any) -> None:
        try:
            self._fail(instance)
        except Exception:
            self.rt.delete_allocation_for_evacuated_instance(
                context, instance, "node1", node_type="destination"
            )
            raise


def fail(instance: Any) -> None:
    raise nova_exception.InternalError("refused")


def rebuild(
    manager: Manager, server: objects.Instance, recreate: bool = False
) -> objects.Instance:
    failed_rebuilds.watch(manager)
    server.image_ref = NEW
    with pytest.raises(nova_exception.InternalError):
        manager.rebuild_instance(
            None,
            server,
            orig_image_ref=OLD,
            image_ref=NEW,
            injected_files=[],
            new_pass="",
            orig_sys_metadata=None if recreate else {"image_hw_disk_bus": "virtio"},
            bdms=None,
            recreate=recreate,
        )
    return server


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Nova's database, of a server and of what its scheduler looks for."""
    save = mock.Mock()
    monkeypatch.setattr(objects.Instance, "save", save)
    monkeypatch.setattr(objects.RequestSpec, "get_by_instance_uuid", mock.Mock())
    return save


def test_an_encrypted_server_gets_its_image_back(saved: mock.Mock) -> None:
    manager = Manager(fail)
    server = rebuild(manager, instance(ASKS, hw_disk_bus="usb"))
    assert not manager.deleted
    assert server.image_ref == OLD
    assert server.system_metadata == {"image_hw_disk_bus": "virtio"}
    saved.assert_called_once_with()


def test_a_destroyed_server_keeps_the_new_image(saved: mock.Mock) -> None:
    def destroy(server: Any) -> None:
        failed_rebuilds.note_destroy(server)
        fail(server)

    manager = Manager(destroy)
    server = rebuild(manager, instance(ASKS, hw_disk_bus="usb"))
    assert not manager.deleted
    assert server.image_ref == NEW
    saved.assert_not_called()


def test_the_destroy_of_another_server_says_nothing(saved: mock.Mock) -> None:
    def destroy(server: Any) -> None:
        failed_rebuilds.note_destroy(types.SimpleNamespace(uuid="another"))
        fail(server)

    assert rebuild(Manager(destroy), instance(ASKS)).image_ref == OLD


@pytest.mark.parametrize(
    ("extra_specs", "recreate"), [({}, False), (ASKS, True)], ids=["plain", "evacuated"]
)
def test_other_rebuilds_are_novas(
    extra_specs: dict[str, str], recreate: bool, saved: mock.Mock
) -> None:
    manager = Manager(fail)
    assert rebuild(manager, instance(extra_specs), recreate).image_ref == NEW
    assert manager.deleted == [UUID]
    saved.assert_not_called()


def test_a_later_deletion_is_novas(saved: mock.Mock) -> None:
    manager = Manager(fail)
    server = rebuild(manager, instance(ASKS))
    manager.rt.delete_allocation_for_evacuated_instance(
        None, server, "node1", node_type="source"
    )
    assert manager.deleted == [UUID]


def test_a_database_that_fails_hides_no_refusal(saved: mock.Mock) -> None:
    saved.side_effect = nova_exception.InstanceNotFound(instance_id=UUID)
    manager = Manager(fail)
    rebuild(manager, instance(ASKS))
    assert not manager.deleted


def test_a_cell_without_the_api_database_hides_no_refusal(
    saved: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = mock.Mock(side_effect=nova_exception.RequestSpecNotFound(instance_uuid=UUID))
    monkeypatch.setattr(objects.RequestSpec, "get_by_instance_uuid", gone)
    assert rebuild(Manager(fail), instance(ASKS)).image_ref == OLD


# Nova's own, of each release that these tests run on


def rebuild_instance() -> Any:
    """Return Nova's own, without its decorators."""
    return safe_utils.get_wrapped_function(
        compute_manager.ComputeManager.rebuild_instance
    )


def test_nova_names_the_arguments_of_a_rebuild_so() -> None:
    signature = inspect.signature(rebuild_instance())
    assert list(signature.parameters)[1:10] == [
        "context",
        "instance",
        "orig_image_ref",
        "image_ref",
        "injected_files",
        "new_pass",
        "orig_sys_metadata",
        "bdms",
        "recreate",
    ]


def test_nova_deletes_the_allocations_of_a_failed_rebuild_here() -> None:
    source = inspect.getsource(rebuild_instance())
    assert "self.rt.delete_allocation_for_evacuated_instance(" in source
    method = resource_tracker.ResourceTracker.delete_allocation_for_evacuated_instance
    assert list(inspect.signature(method).parameters)[1:3] == ["context", "instance"]


def test_nova_hands_a_driver_its_compute_manager() -> None:
    manager = mock.Mock()
    virtapi = compute_manager.ComputeVirtAPI(manager)
    assert nova_compat.compute_manager(virtapi) is manager
    assert nova_compat.compute_manager(None) is None
