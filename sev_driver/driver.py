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

"""The compute driver: Nova's libvirt driver, and what SEV adds to it."""

from __future__ import annotations

import functools
from typing import Any

from nova.conf import CONF
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from nova import objects
from sev_driver import (
    capabilities,
    conf,
    domain,
    guard,
    host,
    inventory,
    launch_security,
    releases,
    requirements,
    translate,
)
from sev_driver.exceptions import DomainXMLError, EncryptionLost, RequirementsNotMet
from sev_driver.model import MemoryEncryptionModel
from sev_driver.policy import DEFAULT_SEV_POLICY

LOG = logging.getLogger(__name__)

conf.register_opts(CONF)


class SEVDriver(libvirt_driver.LibvirtDriver):  # type: ignore[misc]
    """Runs guests with memory encrypted by AMD SEV, and all others as ever.

    A guest that asks for no encryption goes through Nova's driver untouched.
    """

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        releases.check_nova()
        super().__init__(virtapi, read_only)

    def init_host(self, host: str) -> None:
        super().init_host(host)
        self._log_capabilities()

    @functools.cached_property
    def _sev_host(self) -> capabilities.HostCapabilities:
        arch = self._host.get_capabilities().host.cpu.arch
        facts = host.read(self._host.get_connection(), CONF.libvirt.virt_type, arch)
        return capabilities.conclude(facts)

    def _log_capabilities(self) -> None:
        for capability in self._sev_host.values():
            if capability.support is capabilities.Support.UNKNOWN:
                LOG.error("%s", capability)
                continue
            LOG.info("%s", capability)
            slots = inventory.count(
                capability, CONF.libvirt.num_memory_encrypted_guests
            )
            if slots.warning:
                LOG.warning("%s", slots.warning)
            if capability.supported:
                LOG.info(
                    "%s: %d slots offered to Placement (%s)",
                    capability.model.title,
                    slots.total,
                    slots.source,
                )

    # Placement

    def _get_memory_encryption_inventories(self) -> dict[str, dict[str, Any]]:
        """Nova makes and reshapes the providers; the numbers are ours."""
        result = dict(super()._get_memory_encryption_inventories())
        for capability in self._sev_host.values():
            slots = inventory.count(
                capability, CONF.libvirt.num_memory_encrypted_guests
            )
            result[capability.model.symbol] = inventory.as_nova(slots, capability)
        return result

    # Guests

    def _require(self, request: requirements.GuestRequest) -> None:
        """:raises RequirementsNotMet: the guest cannot have what it asks for."""
        violations = requirements.check(request, self._sev_host)
        if violations:
            raise RequirementsNotMet(violations)

    def spawn(
        self,
        context: Any,
        instance: objects.Instance,
        image_meta: objects.ImageMeta,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        request = translate.guest_request(instance)
        if request is not None:
            try:
                self._require(request)
            except RequirementsNotMet as error:
                raise translate.build_error(instance, error) from error
            translate.settle_machine_type(instance, request)
            image_meta = translate.encrypted_image_meta(instance, image_meta)
        super().spawn(context, instance, image_meta, *args, **kwargs)

    def rescue(
        self,
        context: Any,
        instance: objects.Instance,
        network_info: Any,
        image_meta: objects.ImageMeta,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        # Nova computes the disks' buses before it makes the XML, so the rescue
        # image must bear the guest's machine type already here.
        if translate.guest_request(instance) is not None:
            image_meta = translate.encrypted_image_meta(instance, image_meta)
        super().rescue(context, instance, network_info, image_meta, *args, **kwargs)

    def _get_guest_xml(
        self,
        context: Any,
        instance: objects.Instance,
        network_info: Any,
        disk_info: Any,
        image_meta: objects.ImageMeta,
        *args: Any,
        **kwargs: Any,
    ) -> str:
        request = translate.guest_request(instance)
        if request is not None:
            try:
                self._require(request)
            except RequirementsNotMet as error:
                raise translate.operation_error(instance, error) from error
            image_meta = translate.encrypted_image_meta(instance, image_meta)
        xml: str = super()._get_guest_xml(
            context, instance, network_info, disk_info, image_meta, *args, **kwargs
        )
        if request is None or request.model is not MemoryEncryptionModel.AMD_SEV:
            return xml
        return domain.apply(
            domain.Plan(launch_security.LaunchSecurity(DEFAULT_SEV_POLICY)), xml
        )

    def _create_guest(
        self, context: Any, xml: str, instance: objects.Instance, *args: Any, **kw: Any
    ) -> Any:
        """Every domain that Nova defines comes by here, saved XML included."""
        request = translate.guest_request(instance)
        if request is not None:
            try:
                guard.check(request.model, xml)
            except (EncryptionLost, DomainXMLError) as error:
                LOG.error("%s", error, instance=instance)
                raise translate.operation_error(instance, error) from error
        return super()._create_guest(context, xml, instance, *args, **kw)
