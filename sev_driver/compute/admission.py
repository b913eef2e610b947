# SPDX-License-Identifier: Apache-2.0

"""The checks before each operation on a guest: observe, decide, refuse."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.conf import CONF
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from sev_driver.compute import (
    doors,
    encryption_record,
    errors,
    kernel_boot,
    launch_facts,
    new_host,
    next_launch,
    nova_compat,
    slot_exchange,
)
from sev_driver.compute import instance as guest_request
from sev_driver.compute.capability_tracker import CapabilityTracker
from sev_driver.compute.doors import Check, Door, Refusal, SlotExchange
from sev_driver.compute.errors import ErrorTranslator
from sev_driver.compute.foreign_guests import ForeignGuests
from sev_driver.compute.verdict import (
    ExistingDomain,
    Observed,
    decide,
    needs_host_trait,
    should_exchange_slot,
)
from sev_driver.conf import stock_nova
from sev_driver.exceptions import DomainXMLError, Requirement
from sev_driver.guest import launch_inputs, operations, requirements
from sev_driver.guest.requirements import ForeignRequest, GuestRequest
from sev_driver.host import kernel
from sev_driver.model import HOST_TRAIT
from sev_driver.placement.allocations import (
    check_foreign_allocation,
    slot_providers,
    without_slots_elsewhere,
)

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Admitted:
    """A guest that may proceed; the rest of the operation uses it."""

    instance_uuid: str
    request: GuestRequest
    domain: ExistingDomain | None = None
    tolerated: frozenset[Requirement] = frozenset()

    @property
    def keeps_domain(self) -> bool:
        """True if the existing domain has the guest's model."""
        return self.domain is not None and self.domain.model is self.request.model


_current: contextvars.ContextVar[Admitted | None] = contextvars.ContextVar(
    "_current", default=None
)


class Admission:
    """Observes a guest before an operation, and refuses with Nova's errors.

    :param nova_host: Nova's libvirt Host.
    :param virtapi: Nova's VirtAPI, which has Nova's client of Placement.
    :param tracker: the current capabilities of this host.
    :param foreign: the checks of guests with a model of another vendor.
    :param refusals: translates errors to Nova's.
    """

    def __init__(
        self,
        nova_host: Any,
        virtapi: Any,
        tracker: CapabilityTracker,
        foreign: ForeignGuests,
        refusals: ErrorTranslator,
    ) -> None:
        self._nova_host = nova_host
        self._virtapi = virtapi
        self._tracker = tracker
        self._foreign = foreign
        self._errors = refusals
        preparation = stock_nova.preparation(CONF, nova_compat.installed_release())
        self._is_prepared_for_stock = preparation.stock_models is not None
        #: The name of this host in Nova.
        self.hostname: str = CONF.host

    @contextlib.contextmanager
    def through(
        self, door: Door, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> Iterator[GuestRequest | None]:
        """Check ``instance`` before the body, which carries out the operation.

        Yields its request, None for a plain guest, which is not checked. Errors of the
        driver in the body are translated to Nova's as well. By then the server has
        changed, so that the state is no longer rolled back.

        After the body, the model is recorded if ``door.defines_domain``.

        :param args: the arguments of Nova's call of the door's method.
        :param kwargs: the keyword arguments of that call.
        :raises nova.exception.NovaException: the guest is refused; the class depends
            on ``door.refusal``.
        """
        call = functools.partial(nova_compat.arguments, door.method, args, kwargs)
        flavor = call()["flavor"] if door is doors.MIGRATE else instance.flavor
        request = guest_request.request_with_flavor(flavor, instance)
        domain = functools.cache(functools.partial(self._existing, door, instance))
        self._refuse_lost_request(door, instance, flavor, domain)
        if request is None:
            foreign = guest_request.foreign_request_for(instance)
            self._refuse_inputs(door, instance, foreign, flavor)
            if foreign is not None:
                self._refuse_foreign(door, instance, foreign, call)
            yield None
            self._record(door, instance)
            return
        with self._errors.translate_to(_nova_error(door.refusal, instance), instance):
            admitted = self._admit(door, instance, request, call(), domain)
        token = _current.set(admitted)
        try:
            # After Nova has started the operation, nothing can be rolled back.
            late = door.refusal is Refusal.ROLLBACK
            refusal = Refusal.OPERATION if late else door.refusal
            with self._errors.translate_to(_nova_error(refusal, instance), instance):
                yield request
        finally:
            _current.reset(token)
        self._record(door, instance)

    def check(
        self, door: Door, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        """Check ``instance`` as :meth:`through` does, without a body."""
        with self.through(door, instance, *args, **kwargs):
            pass

    def renew_record(self, instance: objects.Instance) -> bool:
        """Record the model that ``instance`` asks for now; return whether it is new.

        Never raises, because the guest has been started.
        """
        try:
            return encryption_record.renew(instance, self.hostname)
        except Exception:
            encryption_record.warn(instance)
            return False

    def _record(self, door: Door, instance: objects.Instance) -> None:
        if not door.defines_domain or not self.renew_record(instance):
            return
        if instance.task_state is None:
            # Started with the host: Nova saves nothing after it.
            encryption_record.save(instance)

    def admitted(
        self, instance: objects.Instance, *, has_old_guest: bool
    ) -> Admitted | None:
        """Return the admitted guest of ``instance``, None for a plain guest.

        If Nova creates XML outside of all doors, the guest is checked here.

        :param has_old_guest: true if Nova reuses the existing domain; only then libvirt
            is queried for it.
        :raises RequirementsNotMet: outside of all doors, the guest is refused.
        """
        admitted = _current.get()
        if admitted is not None and admitted.instance_uuid == instance.uuid:
            return admitted
        request = guest_request.request_for(instance)
        if request is None:
            return None
        requirements.refuse(
            requirements.check_request(request, self._tracker.current())
        )
        domain = self.find_domain(instance) if has_old_guest else None
        return Admitted(instance.uuid, request, domain)

    def _refuse_lost_request(
        self,
        door: Door,
        instance: objects.Instance,
        flavor: objects.Flavor,
        domain: Callable[[], ExistingDomain | None],
    ) -> None:
        """Refuse an encrypted guest that would be protected less after the operation.

        :param flavor: the flavor that the guest will have.
        """
        if Check.RECORD not in door.checks:
            return
        found = encryption_record.check_request(instance, flavor, domain())
        if found:
            error = _nova_error(door.refusal, instance)
            with self._errors.translate_to(error, instance):
                requirements.refuse(found)

    def _refuse_inputs(
        self,
        door: Door,
        instance: objects.Instance,
        foreign: ForeignRequest | None,
        flavor: objects.Flavor,
    ) -> None:
        """Refuse a guest that has launch inputs, but is not one of AMD SEV."""
        if Check.INPUTS not in door.checks:
            return
        inputs = guest_request.launch_inputs_for(instance, flavor)
        model = None if foreign is None else foreign.model
        found = launch_inputs.check(inputs, model, allowed=True)
        if found:
            error = _nova_error(door.refusal, instance)
            with self._errors.translate_to(error, instance):
                requirements.refuse(found)

    def _refuse_foreign(
        self,
        door: Door,
        instance: objects.Instance,
        foreign: ForeignRequest,
        call: Callable[[], dict[str, Any]],
    ) -> None:
        """Refuse a guest with a model of another vendor if it cannot be encrypted."""
        if Check.HOST not in door.checks:
            return
        with self._errors.translate_to(_nova_error(door.refusal, instance), instance):
            found = self._foreign.violations(instance)
            if Check.SLOT in door.checks:
                allocations, name = self._slot(door, instance, call())
                unknown = allocations is None and door.stays_here
                if not (unknown and self._foreign.is_encrypted(instance)):
                    found += check_foreign_allocation(foreign, allocations, name)
            requirements.refuse(found)

    def _admit(
        self,
        door: Door,
        instance: objects.Instance,
        request: GuestRequest,
        given: dict[str, Any],
        domain: Callable[[], ExistingDomain | None],
    ) -> Admitted:
        """Return the admitted guest.

        :param given: the arguments of Nova's call, by name.
        :param domain: returns the guest's domain before the operation.
        :raises SevDriverError: the guest is refused.
        """
        if door.operation is not None:
            operations.refuse(door.operation, request.model)
        seen = self._observe(door, instance, request, given)
        seen = self._with_domain(door, instance, request, seen, domain())
        seen = next_launch.observe(door, instance, given, self._tracker, seen)
        verdict = decide(door, request, seen)
        if should_exchange_slot(door, verdict):
            seen = self._exchange_slot(door, instance, request, given, seen)
            verdict = decide(door, request, seen)
        requirements.refuse(verdict.violations)
        if Check.XML in door.checks:
            found = self._next_xml(door, instance)
            guest_request.verify_next_domain(instance, request, found)
            launch_facts.check_id_block(instance, found, self._tracker)
        if needs_host_trait(door, request):
            LOG.warning(
                "Stock Nova would start this server %s, and flavor %s lets it go to "
                "hosts with stock Nova: set trait:%s=required on the flavor.",
                request.on_stock_nova,
                instance.flavor.name,
                HOST_TRAIT,
                instance=instance,
            )
        for violation in verdict.tolerated:
            LOG.warning("Starting the guest as it has run before: %s", violation)
        tolerated = frozenset(each.requirement for each in verdict.tolerated)
        return Admitted(instance.uuid, request, seen.domain, tolerated)

    def _observe(
        self,
        door: Door,
        instance: objects.Instance,
        request: GuestRequest,
        given: dict[str, Any],
    ) -> Observed:
        seen = Observed(
            is_prepared_for_stock=self._is_prepared_for_stock,
            has_run=guest_request.has_run(instance),
            image_model=guest_request.image_model(instance),
            release=nova_compat.installed_release(),
        )
        if Check.INPUTS in door.checks:
            seen = _with_inputs(instance, given.get("flavor"), seen)
        # Whether the guest may have a PCI device depends on this host's QEMU.
        has_ports = Check.PORTS in door.checks and request.allows_pci_devices
        if Check.HOST in door.checks or has_ports:
            seen = dataclasses.replace(seen, host=self._tracker.current())
        if Check.SLOT in door.checks:
            allocations, name = self._slot(door, instance, given)
            seen = dataclasses.replace(
                seen, allocations=allocations, provider_name=name
            )
        if Check.NEW_HOST in door.checks and seen.allocations:
            context = given["context"]
            client = self._virtapi.reportclient
            stock = new_host.lacks_driver(client, context, seen.allocations)
            lost = bool(stock) and new_host.has_lost_slots(client, seen.allocations)
            stock = stock and not lost
            seen = dataclasses.replace(
                seen, goes_to_stock=stock, new_host_lost_slots=lost
            )
            if stock:
                is_open = guest_request.leaves_machine_type_open(context, instance)
                seen = dataclasses.replace(seen, leaves_machine_type_open=is_open)
        return _with_devices(door, instance, request, given, seen)

    def _with_domain(
        self,
        door: Door,
        instance: objects.Instance,
        request: GuestRequest,
        seen: Observed,
        domain: ExistingDomain | None,
    ) -> Observed:
        """Return ``seen`` with the guest's domain, and the firmware of its kernel."""
        seen = dataclasses.replace(seen, domain=domain)
        rescues = door in (doors.POWER_OFF_FOR_RESCUE, doors.RESCUE)
        if Check.HOST in door.checks and guest_request.has_kernel(
            instance, rescues=rescues
        ):
            boot = kernel_boot.of(self._tracker.facts(), request, domain)
            seen = dataclasses.replace(seen, kernel=boot)
        return seen

    def _slot(
        self, door: Door, instance: objects.Instance, given: dict[str, Any]
    ) -> tuple[new_host.Allocations | None, Callable[[str], str]]:
        """Return the guest's allocations and a function for the providers' names.

        The slot of the host that has failed is left out in an evacuation. The
        allocations are None if Placement does not answer.
        """
        client = self._virtapi.reportclient
        context = given.get("context") or nova_context.get_admin_context()
        names: dict[str, str] = {}
        try:
            if "allocations" in given:
                allocations = given["allocations"]
            else:
                held = client.get_allocs_for_consumer(context, instance.uuid)
                allocations = held["allocations"]
            for uuid in slot_providers(allocations or {}):
                names[uuid] = client.get_resource_provider_name(context, uuid)
        except Exception as error:
            LOG.warning(
                "Cannot read the server's allocations from Placement: %s",
                error,
                instance=instance,
            )
            return None, str
        name = names.__getitem__
        if door is doors.SPAWN and allocations and instance.host != self.hostname:
            node = self._nova_host.get_hostname()
            allocations = without_slots_elsewhere(allocations, name, node)
        return allocations, name

    def _exchange_slot(
        self,
        door: Door,
        instance: objects.Instance,
        request: GuestRequest,
        given: dict[str, Any],
        seen: Observed,
    ) -> Observed:
        """Exchange the guest's slot for one of its model; return the new facts.

        If a later door exchanges the slot, only see whether one is free.
        """
        client = self._virtapi.reportclient
        context = given.get("context") or nova_context.get_admin_context()
        this = (client, context, instance, request.model)
        try:
            if door.slot_exchange is SlotExchange.LATER:
                free = slot_exchange.has_free_slot(*this)
                return dataclasses.replace(seen, one_free=free, none_free=not free)
            held = slot_exchange.exchange_slot(*this)
        except Exception as error:
            LOG.warning(
                "Cannot exchange the slot for one of the guest's model: %s",
                error,
                instance=instance,
            )
            return dataclasses.replace(seen, allocations=None)
        if held is None:
            return dataclasses.replace(seen, none_free=True)
        now, name = self._slot(door, instance, {**given, "allocations": held})
        return dataclasses.replace(
            seen, allocations=now, provider_name=name, none_free=True
        )

    def _existing(
        self, door: Door, instance: objects.Instance
    ) -> ExistingDomain | None:
        """Return the guest's domain before an operation, None if it has none."""
        return self.find_domain(instance) if door.has_domain else None

    def find_domain(self, instance: objects.Instance) -> ExistingDomain | None:
        """Return the guest's domain, None if libvirt has none that can be read."""
        try:
            text = self._nova_host.get_guest(instance).get_xml_desc()
            return ExistingDomain.parse(text)
        except (nova_exception.InstanceNotFound, DomainXMLError):
            return None

    def _next_xml(self, door: Door, instance: objects.Instance) -> str:
        """Return the existing XML with which the guest will start."""
        if door is doors.UNRESCUE:
            folder = pathlib.Path(libvirt_utils.get_instance_path(instance))
            return (folder / "unrescue.xml").read_text()
        guest = self._nova_host.get_guest(instance)
        found: str = guest.get_xml_desc(dump_inactive=True)
        return found


def _with_devices(
    door: Door,
    instance: objects.Instance,
    request: GuestRequest,
    given: dict[str, Any],
    seen: Observed,
) -> Observed:
    """Return ``seen`` with the ports, disks and shares that the door's checks need."""
    if Check.PORTS in door.checks:
        vifs = [given["vif"]] if "vif" in given else given.get("network_info")
        users = guest_request.vhost_user_ports(vifs)
        if users and guest_request.shares_memory(instance):
            users = ()
        seen = dataclasses.replace(
            seen,
            ports=guest_request.passthrough_ports(vifs),
            unshared_ports=users,
        )
    if Check.DISKS in door.checks:
        devices = given.get("block_device_info")
        disks = guest_request.disks(instance, request, devices)
        seen = dataclasses.replace(seen, disks=disks)
    if Check.SHARES in door.checks:
        seen = dataclasses.replace(
            seen, has_share=guest_request.has_share(instance, given)
        )
    return seen


def _with_inputs(
    instance: objects.Instance, flavor: objects.Flavor | None, seen: Observed
) -> Observed:
    """Return the facts with the guest's launch inputs.

    :param flavor: another flavor than the instance's own.
    """
    inputs = guest_request.launch_inputs_for(instance, flavor)
    if not inputs.keys:
        return seen
    topology = seen.topology
    if launch_inputs.depends_on_host(inputs.policy):
        topology = kernel.read_topology()
    return dataclasses.replace(
        seen,
        inputs=inputs,
        takes_inputs=CONF.sev.owner_inputs,
        snp_policy=CONF.sev.snp_policy,
        topology=topology,
    )


def _nova_error(refusal: Refusal, instance: objects.Instance) -> Any:
    if refusal is Refusal.BUILD:
        return functools.partial(errors.for_build, instance)
    return getattr(errors, refusal.value)
