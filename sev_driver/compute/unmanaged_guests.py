# SPDX-License-Identifier: Apache-2.0


"""Find running guests that use a slot without an allocation in Placement."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Set
from typing import Any, Final

from oslo_log import log as logging

from sev_driver.compute import nova_compat
from sev_driver.compute.slot_consumers import PlacementQueries
from sev_driver.domain import verify
from sev_driver.exceptions import DetectionError, SevDriverError
from sev_driver.host import kernel, libvirt_connection
from sev_driver.model import SEV, MemoryEncryptionModel
from sev_driver.placement import reserved

LOG = logging.getLogger(__name__)

#: A domain's uuid, and its id, which changes with each start.
Run = tuple[str, int]

#: Returns the consumers of a model's slots: servers and migrations.
ConsumersOf = Callable[[MemoryEncryptionModel], Set[str]]

#: Restores the allocations of running servers; returns the servers that have them.
Restore = Callable[[Mapping[str, MemoryEncryptionModel]], Set[str]]


@dataclasses.dataclass(frozen=True)
class RunningGuests:
    """The encrypted guests on this host.

    ``running`` are the guests that libvirt lists; ``outside`` is the number of other
    guests that the kernel counts.
    """

    running: Mapping[Run, MemoryEncryptionModel]
    outside: collections.Counter[MemoryEncryptionModel]

    def without_slots(self, consumers_of: ConsumersOf) -> set[Run]:
        """Return the guests of libvirt that are not themselves consumers of slots.

        The guests of one model are compared at once: an update does it for all.
        """
        found: set[Run] = set()
        for model in MemoryEncryptionModel:
            runs = [run for run, each in self.running.items() if each is model]
            if runs:
                consumers = consumers_of(model)
                found.update([run for run in runs if run[0] not in consumers])
        return found


NO_GUESTS: Final = RunningGuests({}, collections.Counter())


class UnmanagedGuests:
    """Guests that are not managed by Nova, and servers whose allocation was lost.

    The database is queried once for each guest that is new or whose allocation has
    disappeared, and for a server until it has its allocation again.

    :param nova_host: Nova's libvirt Host.
    """

    def __init__(self, nova_host: Any, placement: PlacementQueries) -> None:
        self._running = EncryptedDomains(nova_host)
        self._placement = placement
        self._known: frozenset[Run] = frozenset()
        self._servers: frozenset[str] = frozenset()
        self._outside: collections.Counter[MemoryEncryptionModel] = (
            collections.Counter()
        )

    def observe(self) -> RunningGuests:
        """Return the running encrypted guests.

        :raises nova.exception.HypervisorUnavailable: libvirt does not answer.
        """
        before = kernel.read_misc_current()
        running = self._running.list()
        outside = reserved.guests_outside_libvirt(running.values(), before)
        if outside:
            outside = reserved.guests_outside_libvirt(
                running.values(), before, kernel.read_misc_current()
            )
        return RunningGuests(running, outside)

    def count_by_model(
        self, guests: RunningGuests, consumers_of: ConsumersOf, restore: Restore
    ) -> collections.Counter[MemoryEncryptionModel]:
        """Return the number of running guests without an allocation, by model.

        :param guests: the running guests.
        :param restore: called with the servers among them, if there are any.
        """
        running, outside = guests.running, guests.outside
        unallocated = guests.without_slots(consumers_of)
        new = unallocated - self._known
        if new:
            unallocated -= new - self._confirmed(new, consumers_of)
            self._identify(unallocated & new)
        lost = {run[0]: running[run] for run in unallocated if run[0] in self._servers}
        self._servers = frozenset(lost)
        restored = restore(lost) if lost else frozenset()
        unallocated = {run for run in unallocated if run[0] not in restored}
        self._known = frozenset(unallocated)
        self._log_outside(outside)
        return collections.Counter(running[run] for run in unallocated) + outside

    def _confirmed(self, new: Set[Run], consumers_of: ConsumersOf) -> frozenset[Run]:
        """Return the guests that still run, and whose slot no migration holds."""
        running = self._running.list()
        new &= running.keys()
        consumers = {uuid for run in new for uuid in consumers_of(running[run])}
        moving = self._placement.migrations(consumers) if consumers else {}
        return frozenset(
            run
            for run in new
            if not any(
                moving.get(consumer) == run[0]
                for consumer in consumers_of(running[run])
            )
        )

    def _identify(self, found: Set[Run]) -> None:
        """Find out which guests are servers, and log the others."""
        if not found:
            return
        uuids = {uuid for uuid, _ in found}
        servers = self._placement.known_instances(uuids)
        self._servers |= servers
        for uuid in sorted(uuids - servers):
            LOG.info(not_managed(uuid))

    def _log_outside(self, outside: collections.Counter[MemoryEncryptionModel]) -> None:
        if outside != self._outside:
            self._outside = outside
            plain = outside[SEV]
            LOG.info(outside_libvirt(plain, sum(outside.values()) - plain))


def not_managed(uuid: str) -> str:
    """Return the log line about a guest that is not managed by Nova."""
    return (
        f"Domain {uuid} uses memory encryption but is not managed by Nova. One slot is "
        f"reserved until it stops."
    )


def outside_libvirt(plain: int, others: int) -> str:
    """Return the log line about guests that the kernel counts and libvirt lacks.

    :param plain: the number of guests of plain SEV.
    :param others: the number of guests of SEV-ES and SEV-SNP.
    """
    return (
        f"The kernel counts encrypted guests that libvirt does not run: {plain} of AMD "
        f"SEV, {others} of AMD SEV-ES and AMD SEV-SNP. Their slots are reserved until "
        f"they stop."
    )


def unread_domain(uuid: str, error: Exception) -> str:
    """Return the warning about a domain whose XML cannot be read."""
    return (
        f"Cannot determine whether domain {uuid} uses memory encryption, and so a "
        f"slot: {error}. The next update tries again."
    )


class EncryptedDomains:
    """The running encrypted domains. The XML of each domain is read once.

    The launchSecurity of a running domain cannot change.

    :param nova_host: Nova's libvirt Host.
    """

    def __init__(self, nova_host: Any) -> None:
        self._nova_host = nova_host
        self._connection: Any = None
        #: The known domains, by libvirt's id on this connection.
        self._known: dict[int, tuple[Run, MemoryEncryptionModel | None]] = {}
        self._ids: frozenset[int] | None = None
        self._encrypted: Mapping[Run, MemoryEncryptionModel] = {}

    def list(self) -> Mapping[Run, MemoryEncryptionModel]:
        """Return the running encrypted domains with their models.

        One call to libvirt reads the ids, and another one the domains, if an id is new.
        The result is the same object if nothing has changed.

        :raises nova.exception.HypervisorUnavailable: libvirt does not answer.
        """
        ids = self._running_ids()
        if ids is not None and ids == self._ids:
            return self._encrypted
        if ids is None or not self._known.keys() >= ids:
            ids = self._read_new()
        self._known = {each: self._known[each] for each in ids if each in self._known}
        # A domain that could not be read is read again next time.
        self._ids = ids if self._known.keys() == ids else None
        self._encrypted = {
            run: model for run, model in self._known.values() if model is not None
        }
        return self._encrypted

    def _running_ids(self) -> frozenset[int] | None:
        """Return the ids of the running domains, None if this connection is lost."""
        connection = nova_compat.connection_of(self._nova_host)
        if connection is not self._connection:
            self._forget(connection)
        try:
            return libvirt_connection.running_ids(connection)
        except DetectionError:
            return None  # Nova's own query opens a new connection, or raises.

    def _forget(self, connection: Any) -> None:
        self._connection = connection
        self._known, self._ids = {}, None

    def _read_new(self) -> frozenset[int]:
        """Read the domains that are not known; return the ids of all running ones."""
        # libvirt's client knows id and uuid: they need no call.
        domains = {
            domain.ID(): domain
            for domain in self._nova_host.list_instance_domains(only_running=True)
        }
        connection = nova_compat.connection_of(self._nova_host)
        if connection is not self._connection:
            self._forget(connection)
        for number, domain in domains.items():
            if number not in self._known:
                self._read((domain.UUIDString(), number), domain)
        return frozenset(domains)

    def _read(self, run: Run, domain: Any) -> None:
        """Read a new domain; log a warning if that fails."""
        try:
            xml = libvirt_connection.read_xml(domain)
            if xml is not None:
                self._known[run[1]] = run, verify.encryption_model(xml)
        except SevDriverError as error:
            LOG.warning(unread_domain(run[0], error))
