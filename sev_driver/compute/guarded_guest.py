# SPDX-License-Identifier: Apache-2.0

"""Nova's Guest, with checks before a domain is started, changed or moved."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from nova import exception as nova_exception
from nova import objects
from nova.virt.libvirt import guest as libvirt_guest
from nova.virt.libvirt import host as libvirt_host

from sev_driver.compute import errors, foreign_guests, nova_compat
from sev_driver.compute import instance as guest_request
from sev_driver.compute.errors import ErrorTranslator
from sev_driver.domain import encryption, forbidden_devices, transforms
from sev_driver.guest import operations
from sev_driver.guest.operations import Operation
from sev_driver.guest.requirements import GuestRequest, refuse


class GuardedGuest(libvirt_guest.Guest):  # type: ignore[misc]
    """Nova's Guest with checks, which do nothing for plain guests.

    The request is derived only in the methods that need it: most handles are only used
    to read the power state, of an instance whose flavor is not loaded.
    """

    def __init__(
        self, domain: Any, instance: objects.Instance, refusals: ErrorTranslator
    ) -> None:
        super().__init__(domain)
        self._instance = instance
        self._refusals = refusals

    def launch(self, pause: bool = False) -> Any:
        """Start the domain if its current XML is encrypted as requested."""
        request = guest_request.request_for(self._instance)
        if request is not None:
            with self._refusals.translate_to(errors.for_operation, self._instance):
                xml = self.get_xml_desc(dump_inactive=True)
                guest_request.verify_next_domain(self._instance, request, xml)
        elif guest_request.foreign_request_for(self._instance) is not None:
            with self._refusals.translate_to(errors.for_operation, self._instance):
                xml = self.get_xml_desc(dump_inactive=True)
                foreign_guests.verify_domain(self._instance, xml)
        return super().launch(pause)

    def attach_device(
        self, conf: Any, persistent: bool = False, live: bool = False
    ) -> None:
        """Attach a device, changed as encrypted guests need it."""
        request = guest_request.request_for(self._instance)
        if request is not None:
            with self._refusals.translate_to(errors.for_operation, self._instance):
                refuse(forbidden_devices.check_device(request, conf.to_xml()))
            conf = _CompletedDevice(conf)
        try:
            super().attach_device(conf, persistent, live)
        except Exception as error:
            if request is not None:
                self._report(request, conf.to_xml(), error)
            raise

    def _report(self, request: GuestRequest, xml: str, error: Exception) -> None:
        """Log the cause of a known error. Nova still gets libvirt's error."""
        translated = self._refusals.translate_to(errors.for_operation, self._instance)
        with contextlib.suppress(nova_exception.NovaException), translated:
            refuse(forbidden_devices.explain_error(request, xml, str(error)))

    def save_memory_state(self) -> None:
        self._refuse(Operation.MANAGED_SAVE)
        super().save_memory_state()

    def migrate(self, *args: Any, **kwargs: Any) -> None:
        self._refuse(Operation.LIVE_MIGRATION)
        super().migrate(*args, **kwargs)

    def _refuse(self, operation: Operation) -> None:
        request = guest_request.request_for(self._instance)
        if request is not None:
            with self._refusals.translate_to(errors.for_operation, self._instance):
                operations.refuse(operation, request.model)


class _CompletedDevice:
    """A device's configuration whose XML is changed for encrypted guests."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def to_xml(self) -> str:
        return transforms.complete_device_xml(self._conf.to_xml())


def guard_lookups(host: libvirt_host.Host, refusals: ErrorTranslator) -> None:
    """Patch ``host.get_guest`` to return a :class:`GuardedGuest`.

    All code of Nova that starts, saves or extends a guest gets it from this method.
    """
    lookup: Callable[[objects.Instance], libvirt_guest.Guest] = host.get_guest

    def get_guest(instance: objects.Instance) -> libvirt_guest.Guest:
        return GuardedGuest(nova_compat.domain_of(lookup(instance)), instance, refusals)

    host.get_guest = get_guest


def guard_definitions(host: libvirt_host.Host) -> None:
    """Patch ``host.write_instance_config`` to define domains of encrypted guests again.

    Nova defines all domains with this method: new ones, and live ones for a snapshot of
    a disk and after a volume swap.
    """
    define: Callable[[str], libvirt_guest.Guest] = host.write_instance_config

    def write_instance_config(xml: str) -> libvirt_guest.Guest:
        return define(encryption.redefinable(xml))

    host.write_instance_config = write_instance_config
