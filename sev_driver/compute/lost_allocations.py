# SPDX-License-Identifier: Apache-2.0

"""Restore allocations of encrypted servers that Placement has lost.

Stock Nova deletes the allocations of a server whose rebuild fails, and an operator may
delete them by mistake. They are created again from the flavor. ``nova-manage placement
heal_allocations`` does the same, but does not support the providers of slots.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Container, Iterable, Mapping
from typing import Any

from nova import context as nova_context
from nova import objects
from nova.compute import utils as compute_utils
from nova.compute import vm_states
from nova.conf import CONF
from nova.scheduler import utils as scheduler_utils
from oslo_log import log as logging

from sev_driver.compute import instance as guest_request
from sev_driver.exceptions import SevDriverError
from sev_driver.guest import model_selection, requirements
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import allocations as slot_allocations
from sev_driver.placement.allocations import SLOT

LOG = logging.getLogger(__name__)

#: Placement's first API with inventories and allocations in one request.
_RESHAPER = "1.30"

#: VM states in which a running server itself is the consumer of its allocations.
_SETTLED = (vm_states.ACTIVE, vm_states.PAUSED, vm_states.RESCUED, vm_states.ERROR)


@dataclasses.dataclass(frozen=True)
class Providers:
    """The uuids of the host's root provider and of its providers of slots.

    ``node`` is the root provider's name. ``inventories`` are its inventories by class,
    without reserved resources for servers without allocations.
    """

    node: str
    root: str
    inventories: Mapping[str, Mapping[str, Any]]
    slots: Mapping[MemoryEncryptionModel, str]


@dataclasses.dataclass(frozen=True)
class Restored:
    """The result for servers without allocations.

    ``servers`` have their allocations again. ``unallocated`` are the resources of the
    root provider that each other server uses.
    """

    servers: frozenset[str] = frozenset()
    unallocated: tuple[Mapping[str, int], ...] = ()


def is_settled(task_state: str | None, vm_state: str) -> bool:
    """Return whether no operation and no resize of a server is in progress."""
    return task_state is None and vm_state in _SETTLED


class LostAllocations:
    """Restores lost allocations, and logs those that cannot be restored.

    :param virtapi: Nova's VirtAPI, which has Nova's client of Placement.
    """

    def __init__(self, virtapi: Any) -> None:
        self._virtapi = virtapi
        self._logged: dict[str, str] = {}

    def restore(
        self,
        lost: Mapping[str, MemoryEncryptionModel],
        providers: Providers,
        host: HostCapabilities,
    ) -> Restored:
        """Restore allocations as far as possible; log each other server once.

        :param lost: the models of the running servers, by uuid.
        """
        self._logged = {uuid: self._logged.get(uuid, "") for uuid in lost}
        restored: set[str] = set()
        unallocated: list[Mapping[str, int]] = []
        for instance in self._instances(lost) if lost else ():
            if instance.host != CONF.host or instance.node != providers.node:
                continue
            used = _used(instance, providers.inventories)
            slots = providers.slots.get(lost[instance.uuid])
            try:
                if self._holds_others(instance):
                    used = {}
                elif slots and self._put_back(instance, used, slots, providers):
                    restored.add(instance.uuid)
                    LOG.warning(allocation_restored(instance.uuid))
                    continue
            except Exception as error:
                # Builds call this, too, and must not fail because of it.
                LOG.warning(unknown_allocation(instance.uuid, error))
            unallocated.append(used)
            self._log(instance, host)
        return Restored(frozenset(restored), tuple(unallocated))

    @staticmethod
    def _instances(uuids: Iterable[str]) -> Iterable[objects.Instance]:
        found: Iterable[objects.Instance] = objects.InstanceList.get_by_filters(
            nova_context.get_admin_context(),
            {"uuid": list(uuids), "deleted": False},
            expected_attrs=["flavor", "system_metadata"],
        )
        return found

    def _holds_others(self, instance: objects.Instance) -> bool:
        """Return whether the server has allocations, though not of a slot."""
        context = nova_context.get_admin_context()
        client = self._virtapi.reportclient
        held = client.get_allocs_for_consumer(context, instance.uuid)
        return bool(held["allocations"])

    def _put_back(
        self,
        instance: objects.Instance,
        used: Mapping[str, int],
        slots: str,
        providers: Providers,
    ) -> bool:
        """Create the allocations, if the resources are free; return whether they are.

        The same request removes the reservation for this server from the inventories.
        So no other server can take the resources in between.
        """
        if not is_settled(instance.task_state, instance.vm_state):
            return False
        client = self._virtapi.reportclient
        wanted = slot_allocations.for_server(used, providers.root, slots)
        inventories = {}
        for uuid in wanted:
            url = f"/resource_providers/{uuid}/inventories"
            stored = client.get(url, version=_RESHAPER).json()
            for name, record in stored["inventories"].items():
                if name == SLOT and uuid == slots:
                    record["reserved"] = max(0, record["reserved"] - 1)
                elif uuid == providers.root and name in providers.inventories:
                    record["reserved"] = providers.inventories[name]["reserved"]
            inventories[uuid] = stored
        consumer = {
            "allocations": wanted,
            "project_id": instance.project_id,
            "user_id": instance.user_id,
            # Placement rejects the request if the server has allocations by now.
            "consumer_generation": None,
        }
        payload = {
            "inventories": inventories,
            "allocations": {instance.uuid: consumer},
        }
        answer = client.post("/reshaper", payload, version=_RESHAPER)
        if answer.status_code != 204:
            LOG.info(
                "Placement rejects the allocations: %s",
                answer.text,
                instance=instance,
            )
        return bool(answer.status_code == 204)

    def _log(self, instance: objects.Instance, host: HostCapabilities) -> None:
        text = allocation_lost(instance.uuid, _obstacles(instance, host))
        if self._logged[instance.uuid] != text:
            self._logged[instance.uuid] = text
            LOG.warning(text)


def _used(instance: objects.Instance, root_classes: Container[str]) -> dict[str, int]:
    """Return the root provider's resources that ``instance`` uses; never raise."""
    try:
        resources = resources_of(instance)
    except Exception as error:
        LOG.info("Counting only VCPUs and RAM: %s", error, instance=instance)
        flavor = instance.flavor
        resources = {"MEMORY_MB": flavor.memory_mb, "VCPU": flavor.vcpus}
    return slot_allocations.on_root(resources, root_classes)


def resources_of(instance: objects.Instance) -> dict[str, int]:
    """Return the resources that Nova's scheduler requests for ``instance``.

    The slot is not included. Nova's function for heal_allocations fails if a flavor
    asks for encryption, because it ignores the image.
    """
    flavor = instance.flavor.obj_clone()
    flavor.extra_specs = {
        key: value
        for key, value in instance.flavor.extra_specs.items()
        if not key.startswith(model_selection.FLAVOR_KEY)
    }
    bdms = objects.BlockDeviceMappingList.get_by_instance_uuid(
        nova_context.get_admin_context(), instance.uuid
    )
    is_bfv = compute_utils.is_volume_backed_instance(None, instance, bdms)
    spec = objects.RequestSpec(flavor=flavor, is_bfv=is_bfv)
    with contextlib.suppress(ValueError):  # a property of a later Nova
        spec.image = instance.image_meta
        spec.image.properties.hw_mem_encryption = False
    wanted = scheduler_utils.ResourceRequest.from_request_spec(spec)
    resources: dict[str, int] = wanted.merged_resources()
    return resources


def _obstacles(instance: objects.Instance, host: HostCapabilities) -> str:
    """Return why ``instance`` could not be started again; empty if it could."""
    try:
        asked = guest_request.request_for(instance)
    except (SevDriverError, ValueError) as error:
        return str(error)
    if asked is None:
        return "Its flavor and image do not ask for encryption by AMD SEV."
    return " ".join(map(str, requirements.check_request(asked, host)))


def allocation_restored(uuid: str) -> str:
    """Return the warning that allocations were restored."""
    return (
        f"Server {uuid} uses memory encryption, and its allocations in Placement were "
        f"lost. They were created again from its flavor."
    )


def unknown_allocation(uuid: str, error: Exception) -> str:
    """Return the warning that allocations cannot be restored because of an error."""
    return (
        f"The allocations of server {uuid}, which uses memory encryption, cannot be "
        f"created again: {error}. The next update tries again."
    )


def allocation_lost(uuid: str, obstacles: str) -> str:
    """Return the warning about a server without allocation, and what to do.

    :param obstacles: why the server could not be started again; may be empty.
    """
    found = (
        f"Server {uuid} uses memory encryption, but has no allocation of a slot in "
        f"Placement, and none can be created now. Its slot, and other resources that "
        f"it uses here without an allocation, are reserved."
    )
    if obstacles:
        return f"{found} Do not shelve, stop or reboot it: {obstacles}"
    return f"{found} Free resources on this host, or shelve and unshelve the server."
