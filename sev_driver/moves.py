#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Nova's libvirt driver, with guests that move taking their encryption along."""

from __future__ import annotations

import functools
from typing import Any

from nova import objects

from sev_driver import guest_request, pools, requirements, translate, withdrawal
from sev_driver.forbidden_operations import ForbiddenOperations


class Moves(ForbiddenOperations):
    """Looks at the slot of a guest that goes to another host, or another flavor."""

    def _require_slot(
        self, context: Any, request: requirements.GuestRequest, allocations: Any
    ) -> None:
        """:raises RequirementsNotMet: its slot is none, or of another generation."""
        client = self.virtapi.reportclient
        name = functools.partial(client.get_resource_provider_name, context)
        requirements.refuse(pools.check(request, allocations, name))

    def migrate_disk_and_power_off(
        self,
        context: Any,
        instance: objects.Instance,
        dest: Any,
        flavor: objects.Flavor,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        # The last moment at which a refusal leaves the guest running.
        request = guest_request.with_flavor(flavor, instance)
        if request is not None:
            client = self.virtapi.reportclient
            held = client.get_allocs_for_consumer(context, instance.uuid)
            with self._refusals.told_as(translate.unchanged_error, instance):
                self._require_slot(context, request, held["allocations"])
        args = (instance, dest, flavor, *args)
        return super().migrate_disk_and_power_off(context, *args, **kwargs)

    def finish_migration(
        self,
        context: Any,
        migration: Any,
        instance: objects.Instance,
        disk_info: Any,
        network_info: Any,
        image_meta: objects.ImageMeta,
        resize_instance: bool,
        allocations: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        request = guest_request.of(instance)
        if withdrawal.note_resize(instance) or request is not None:
            # As in rescue: it is the image as the user made it. A guest that is
            # encrypted no more keeps its machine type, and can be reverted.
            image_meta = translate.encrypted_image_meta(instance, image_meta)
        args = (network_info, image_meta, resize_instance, allocations, *args)
        with self._refusals.told_as(translate.operation_error, instance):
            if request is not None:
                self._require_slot(context, request, allocations)
            args = (instance, disk_info, *args)
            super().finish_migration(context, migration, *args, **kwargs)

    def finish_revert_migration(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        with self._refusals.told_as(translate.operation_error, instance):
            super().finish_revert_migration(context, instance, *args, **kwargs)
