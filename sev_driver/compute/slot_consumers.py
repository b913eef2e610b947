# SPDX-License-Identifier: Apache-2.0

"""Query Placement and Nova's database for the consumers of a host's slots."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import allocations as slot_allocations
from sev_driver.placement import freshness
from sev_driver.placement.allocations import SLOT, Allocations
from sev_driver.placement.freshness import Situation
from sev_driver.placement.providers import ProviderNames

LOG = logging.getLogger(__name__)


class SlotConsumers:
    """The consumers of slots, queried at most once for each model in an update.

    :param known: Placement's earlier answers.
    :param tree: Nova's ProviderTree.
    :param names: the names of the host's providers.
    :param allocations: the allocations that Nova passes for a reshape, else None.
    :param stored: the names of the providers whose slots are already in Placement.
    """

    def __init__(
        self,
        known: KnownConsumers,
        tree: Any,
        names: ProviderNames,
        allocations: Allocations | None,
        stored: Collection[str],
    ) -> None:
        self._known = known
        self._tree = tree
        self._names = names
        self._allocations = allocations
        self._stored = stored
        self._found: dict[MemoryEncryptionModel, frozenset[str]] = {}

    def of(self, model: MemoryEncryptionModel) -> frozenset[str]:
        """Return the consumers of a model's slots.

        :raises: see :meth:`PlacementQueries.consumers_of`.
        """
        if model not in self._found:
            self._found[model] = self._find(model)
        return self._found[model]

    def forget(self) -> None:
        """Query Placement again, because allocations were created or are missing."""
        self._found.clear()
        self._known.forget()
        self._known.placement.read = None

    def _find(self, model: MemoryEncryptionModel) -> frozenset[str]:
        provider = self._names.provider_for(model)
        if not self._tree.exists(provider):
            return frozenset()
        uuid = self._tree.data(provider).uuid
        if self._allocations is not None:
            return slot_allocations.consumers_of(self._allocations, uuid)
        if provider not in self._stored:
            return frozenset()  # The provider is not in Placement yet.
        return self._known.consumers_of(uuid)

    def count(self, model: MemoryEncryptionModel, *, ask: bool) -> int | None:
        """Return the number of consumers, None if unknown.

        :param ask: true to query Placement if necessary. If Placement does not answer,
            the number is unknown, and the update continues.
        """
        known = model in self._found or self._allocations is not None
        if not known and not ask and self._names.provider_for(model) in self._stored:
            return None
        try:
            return len(self.of(model))
        except Exception as error:
            LOG.warning(
                "Cannot count the consumers of %s slots: %s", model.title, error
            )
            return None


class KnownConsumers:
    """Cache of Placement's answers about the consumers of slots.

    :param interval: how long an answer may be used, in seconds; 0: no caching.
    :param clock: returns the time in seconds.
    """

    def __init__(
        self,
        placement: PlacementQueries,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.placement = placement
        self._interval = interval
        self._clock = clock
        self._situation: Situation | None = None
        self._changed = float("-inf")
        #: By provider: when it was queried, and the answer.
        self._answers: dict[str, tuple[float, frozenset[str]]] = {}

    def observe(self, situation: Situation) -> None:
        """Record the situation of an update; a change makes all answers invalid."""
        if situation != self._situation:
            self._situation = situation
            self._changed = self._clock()
            self.forget()

    def forget(self) -> None:
        """Drop all answers."""
        self._answers.clear()

    def is_valid(self) -> bool:
        """Return whether each answer may still be used."""
        now = self._clock()
        return all(
            self._may_reuse(queried, now) for queried, _ in self._answers.values()
        )

    def _may_reuse(self, queried: float, now: float) -> bool:
        return freshness.may_reuse(queried, self._changed, now, self._interval)

    def consumers_of(self, provider: str) -> frozenset[str]:
        """Return the consumers of a provider's slots, from the cache if valid.

        :param provider: the provider's uuid.
        :raises: see :meth:`PlacementQueries.consumers_of`.
        """
        now = self._clock()
        if provider in self._answers:
            queried, answer = self._answers[provider]
            if self._may_reuse(queried, now):
                return answer
        answer = self.placement.consumers_of(provider)
        self._answers[provider] = now, answer
        return answer


class PlacementQueries:
    """Queries to Placement and to Nova's database.

    :param virtapi: Nova's VirtAPI, which has Nova's client of Placement.
    """

    def __init__(self, virtapi: Any) -> None:
        self._virtapi = virtapi
        self._traits: set[str] = set()
        #: What Nova has read just before this update, None if that is too old.
        self.read: Allocations | None = None

    def consumers_of(self, provider: str) -> frozenset[str]:
        """Return the consumers of a provider's slots, from Nova's own query if it can.

        :param provider: the provider's uuid.
        :raises nova.exception.ResourceProviderAllocationRetrievalFailed: Placement does
            not answer; an exception of keystoneauth1 is possible, too.
        """
        if self.read is not None:
            return slot_allocations.consumers_of(self.read, provider)
        found = self._virtapi.reportclient.get_allocations_for_resource_provider(
            nova_context.get_admin_context(), provider
        )
        return frozenset(
            consumer
            for consumer, record in found.allocations.items()
            if SLOT in record["resources"]
        )

    def has_trait(self, name: str) -> bool:
        """Return whether Placement has a trait. A positive answer is cached.

        :raises nova.exception.TraitRetrievalFailed: Placement returns an error.
        """
        if name not in self._traits:
            answer = self._virtapi.reportclient.get(f"/traits/{name}", version="1.6")
            if answer.status_code == 204:
                self._traits.add(name)
            elif answer.status_code != 404:
                raise nova_exception.TraitRetrievalFailed(error=answer.text)
        return name in self._traits

    @staticmethod
    def migrations(consumers: Iterable[str]) -> dict[str, str]:
        """Return the instance's uuid of each consumer that is a migration.

        During a move, the migration is the consumer of the allocations at the source.
        """
        found = objects.MigrationList.get_by_filters(
            nova_context.get_admin_context(), {"uuid": list(consumers)}
        )
        return {migration.uuid: migration.instance_uuid for migration in found}

    @staticmethod
    def known_instances(uuids: Iterable[str]) -> frozenset[str]:
        """Return the uuids of instances that Nova has, on any host."""
        found = objects.InstanceList.get_by_filters(
            nova_context.get_admin_context(),
            {"uuid": list(uuids), "deleted": False},
            expected_attrs=[],
        )
        return frozenset(instance.uuid for instance in found)
