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


"""What Placement and Nova's database know of this host's slots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects

from sev_driver.reshape import SLOT


class Ledger:
    """:param virtapi: Nova's VirtAPI, which has Nova's client of Placement."""

    def __init__(self, virtapi: Any) -> None:
        self._virtapi = virtapi
        self._traits: set[str] = set()

    def holders(self, provider: str) -> frozenset[str]:
        """Return the consumers that hold a slot of a provider, by its uuid.

        :raises nova.exception.ResourceProviderAllocationRetrievalFailed: or one of
            keystoneauth's, if Placement does not say.
        """
        found = self._virtapi.reportclient.get_allocations_for_resource_provider(
            nova_context.get_admin_context(), provider
        )
        return frozenset(
            consumer
            for consumer, record in found.allocations.items()
            if SLOT in record["resources"]
        )

    def has_trait(self, name: str) -> bool:
        """Tell whether Placement knows a trait; a yes is for good.

        :raises nova.exception.TraitRetrievalFailed: Placement says neither.
        """
        if name not in self._traits:
            answer = self._virtapi.reportclient.get(f"/traits/{name}", version="1.6")
            if answer.status_code == 204:
                self._traits.add(name)
            elif answer.status_code != 404:
                raise nova_exception.TraitRetrievalFailed(error=answer.text)
        return name in self._traits

    @staticmethod
    def moving(holders: Iterable[str]) -> dict[str, str]:
        """Return which holders of slots are migrations, and of which instances.

        While a guest moves, Placement has what it holds at the source under the
        migration's uuid.
        """
        found = objects.MigrationList.get_by_filters(
            nova_context.get_admin_context(), {"uuid": list(holders)}
        )
        return {migration.uuid: migration.instance_uuid for migration in found}

    @staticmethod
    def instances(uuids: Iterable[str]) -> frozenset[str]:
        """Return which of these Nova has, on whatever host."""
        found = objects.InstanceList.get_by_filters(
            nova_context.get_admin_context(),
            {"uuid": list(uuids), "deleted": False},
            expected_attrs=[],
        )
        return frozenset(instance.uuid for instance in found)
