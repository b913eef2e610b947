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

"""Nova's handle on one domain, guarded at the calls that matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nova import objects
from nova.conf import CONF
from nova.virt.libvirt import guest as libvirt_guest
from nova.virt.libvirt import host as libvirt_host

from sev_driver import (
    device_needs,
    forbidden_devices,
    guard,
    guest_request,
    translate,
)
from sev_driver.lifecycle import Operation, require
from sev_driver.refusal_counts import Refusals
from sev_driver.requirements import refuse


class GuardedGuest(libvirt_guest.Guest):  # type: ignore[misc]
    """A guest, whatever code of Nova's holds it; inert if it is a plain one.

    What it asked for is looked up only when it matters: most handles are for a
    glance at the power state, of an instance whose flavor is not even loaded.
    """

    def __init__(
        self, domain: Any, instance: objects.Instance, refusals: Refusals
    ) -> None:
        super().__init__(domain)
        self._instance = instance
        self._refusals = refusals

    def launch(self, pause: bool = False) -> Any:
        """Start the domain as libvirt has it now, whoever defined it."""
        request = guest_request.of(self._instance)
        if request is not None:
            with self._refusals.told_as(translate.operation_error, self._instance):
                xml = self.get_xml_desc(dump_inactive=True)
                guard.check(request.model, xml, CONF.sev.allow_debug)
        return super().launch(pause)

    def attach_device(
        self, conf: Any, persistent: bool = False, live: bool = False
    ) -> None:
        """Attach a device with what an encrypted guest's devices need."""
        request = guest_request.of(self._instance)
        if request is not None:
            with self._refusals.told_as(translate.operation_error, self._instance):
                refuse(forbidden_devices.check_device(request, conf.to_xml()))
            conf = _CompletedDevice(conf)
        super().attach_device(conf, persistent, live)

    def save_memory_state(self) -> None:
        self._rule(Operation.MANAGED_SAVE)
        super().save_memory_state()

    def migrate(self, *args: Any, **kwargs: Any) -> None:
        self._rule(Operation.LIVE_MIGRATION)
        super().migrate(*args, **kwargs)

    def _rule(self, operation: Operation) -> None:
        request = guest_request.of(self._instance)
        if request is not None:
            with self._refusals.told_as(translate.operation_error, self._instance):
                require(operation, request.model)


class _CompletedDevice:
    """A device's configuration whose XML has been through our transforms."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def to_xml(self) -> str:
        return device_needs.complete_xml(self._conf.to_xml())


def guard_lookups(host: libvirt_host.Host, refusals: Refusals) -> None:
    """Have ``host.get_guest`` return a :class:`GuardedGuest`.

    Nova starts, saves and extends guests from many places, and all of them look
    the guest up here: the one seam that none can go round.
    """
    lookup: Callable[[objects.Instance], libvirt_guest.Guest] = host.get_guest

    def get_guest(instance: objects.Instance) -> libvirt_guest.Guest:
        return GuardedGuest(lookup(instance)._domain, instance, refusals)

    host.get_guest = get_guest
