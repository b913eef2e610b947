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

"""Nova's libvirt driver, less the operations that encryption rules out."""

from __future__ import annotations

from typing import Any

from nova import objects
from nova.virt.libvirt import driver as libvirt_driver

from sev_driver import guest_request, lifecycle, translate
from sev_driver.lifecycle import Operation
from sev_driver.refusal_counts import Refusals


class ForbiddenOperations(libvirt_driver.LibvirtDriver):  # type: ignore[misc]
    """Refuses what would save or send the memory of an encrypted guest."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        self._refusals = Refusals()
        super().__init__(virtapi, read_only)

    def suspend(self, context: Any, instance: objects.Instance) -> None:
        with self._refusals.told_as(translate.unchanged_error, instance):
            self._rule(Operation.SUSPEND, instance)
        super().suspend(context, instance)

    def check_can_live_migrate_source(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> Any:
        with self._refusals.told_as(translate.migration_error, instance):
            self._rule(Operation.LIVE_MIGRATION, instance)
        return super().check_can_live_migrate_source(context, instance, *args, **kwargs)

    def check_can_live_migrate_destination(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> Any:
        with self._refusals.told_as(translate.migration_error, instance):
            self._rule(Operation.LIVE_MIGRATION, instance)
        return super().check_can_live_migrate_destination(
            context, instance, *args, **kwargs
        )

    @staticmethod
    def _rule(operation: Operation, instance: objects.Instance) -> None:
        request = guest_request.of(instance)
        if request is not None:
            lifecycle.require(operation, request.model)
