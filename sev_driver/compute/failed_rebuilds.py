# SPDX-License-Identifier: Apache-2.0

"""Keep the allocations and the image of a server whose rebuild on its host fails.

Nova's API stores the new image before the compute host checks the rebuild. If the
rebuild fails, Nova's compute manager (27 to 34) deletes all allocations of the server,
as after a failed evacuation. But if the guest was not destroyed, it still runs with the
old image, and with its memory pinned.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from nova import objects
from oslo_log import log as logging

from sev_driver.guest import model_selection, request

LOG = logging.getLogger(__name__)

#: Nova's prefix for image properties in an instance's system_metadata.
_IMAGE = "image_"


@dataclasses.dataclass
class Rebuild:
    """A rebuild on the same host, with the server's previous image.

    ``image_ref`` is the volume's image for a server that boots from a volume.
    ``is_destroyed`` is true if Nova has called the driver to destroy the old guest.
    """

    server: str
    image_ref: str | None
    system_metadata: Mapping[str, str]
    is_destroyed: bool = False


def may_ask(extra_specs: Mapping[str, str], *records: Mapping[str, str]) -> bool:
    """Return whether a server can ask for encryption, with any model.

    :param extra_specs: the flavor's extra specs.
    :param records: the server's system_metadata, for the old and the new image.
    """
    return (
        bool(request.is_true(extra_specs.get(model_selection.FLAVOR_KEY)))
        or model_selection.MODEL_KEY in extra_specs
        or any(
            request.is_true(record.get(f"{_IMAGE}{model_selection.IMAGE_KEY}"))
            for record in records
        )
    )


def previous_metadata(
    now: Mapping[str, str], before: Mapping[str, str]
) -> dict[str, str]:
    """Return a server's system_metadata, with the properties of the previous image."""
    others = {key: value for key, value in now.items() if not key.startswith(_IMAGE)}
    image = {key: value for key, value in before.items() if key.startswith(_IMAGE)}
    return others | image


def previous_columns(image_ref: str | None, rebuild: Rebuild) -> dict[str, Any]:
    """Return the instance's fields that Nova's API sets from the image.

    auto_disk_config is omitted: users may set it, and libvirt does not use it.

    :param image_ref: the instance's current field; empty if it boots from a volume.
    """
    properties = rebuild.system_metadata
    columns: dict[str, Any] = {
        name: properties.get(f"{_IMAGE}{name}")
        for name in ("os_type", "architecture", "vm_mode")
    }
    for name in ("kernel_id", "ramdisk_id"):
        columns[name] = properties.get(f"{_IMAGE}{name}") or ""
    if image_ref:
        columns["image_ref"] = rebuild.image_ref
    return columns


#: The rebuild in progress in this thread.
_current: contextvars.ContextVar[Rebuild | None] = contextvars.ContextVar(
    "_current", default=None
)


def _rebuild_of(instance: objects.Instance) -> Rebuild | None:
    rebuild = _current.get()
    return rebuild if rebuild and rebuild.server == instance.uuid else None


def note_destroy(instance: objects.Instance) -> bool:
    """Note that a guest is destroyed; return whether it is rebuilt on this host.

    If so, the new image is valid from now on.
    """
    rebuild = _rebuild_of(instance)
    if rebuild is None:
        return False
    rebuild.is_destroyed = True
    return True


def watch(manager: Any) -> None:
    """Patch Nova's compute manager to keep the allocations of encrypted servers.

    Two methods are patched, which are the same since Nova 27: ``rebuild_instance`` gets
    the previous image's properties by RPC; the resource tracker's method deletes the
    allocations, before the failure is saved.

    :param manager: Nova's ComputeManager.
    """
    rebuild_instance = manager.rebuild_instance
    delete_allocation = manager.rt.delete_allocation_for_evacuated_instance

    @functools.wraps(rebuild_instance)
    def rebuild(
        context: Any,
        instance: objects.Instance,
        orig_image_ref: str | None,
        image_ref: str | None,
        injected_files: Any,
        new_pass: Any,
        orig_sys_metadata: Mapping[str, str] | None,
        bdms: Any,
        recreate: bool,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        # A failed evacuation should lose its allocations here, and keeps its image.
        in_place = not recreate and orig_sys_metadata is not None
        token = _current.set(
            Rebuild(instance.uuid, orig_image_ref, orig_sys_metadata or {})
            if in_place
            else None
        )
        try:
            return rebuild_instance(
                context,
                instance,
                orig_image_ref,
                image_ref,
                injected_files,
                new_pass,
                orig_sys_metadata,
                bdms,
                recreate,
                *args,
                **kwargs,
            )
        finally:
            _current.reset(token)

    @functools.wraps(delete_allocation)
    def keep_or_delete(
        context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> Any:
        rebuild = _rebuild_of(instance)
        if rebuild is None or not may_ask(
            instance.flavor.extra_specs,
            instance.system_metadata,
            rebuild.system_metadata,
        ):
            return delete_allocation(context, instance, *args, **kwargs)
        LOG.info(
            "The server keeps its allocations in Placement after a failed rebuild.",
            instance=instance,
        )
        if not rebuild.is_destroyed:
            _restore(context, instance, rebuild)

    manager.rebuild_instance = rebuild
    manager.rt.delete_allocation_for_evacuated_instance = keep_or_delete


def _restore(context: Any, instance: objects.Instance, rebuild: Rebuild) -> None:
    """Restore the instance's image; never raise, because Nova reports the failure."""
    try:
        instance.system_metadata = previous_metadata(
            instance.system_metadata, rebuild.system_metadata
        )
        instance.update(previous_columns(instance.image_ref, rebuild))
        instance.save()
    except Exception as error:
        LOG.error(
            "The rebuild failed, and the previous image cannot be restored: %s. The "
            "server may not start again: rebuild it, which replaces its disk, or "
            "correct the properties with nova-manage image_property set.",
            error,
            instance=instance,
        )
        return
    LOG.info(
        "The guest was not changed. The server has its previous image %s again.",
        rebuild.image_ref,
        instance=instance,
    )
    try:
        _restore_requested_image(context, instance)
    except Exception as error:
        LOG.warning(
            "The rebuild failed, but Nova's scheduler still uses the new image: %s. Do "
            "not migrate or evacuate the server until it has been rebuilt.",
            error,
            instance=instance,
        )


def _restore_requested_image(context: Any, instance: objects.Instance) -> None:
    """Restore the image in the request specification, which later moves use.

    A cold migration also builds the guest on the new host from it.
    """
    spec = objects.RequestSpec.get_by_instance_uuid(context, instance.uuid)
    spec.image = instance.image_meta
    spec.save()
