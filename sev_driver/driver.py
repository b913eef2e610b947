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

import copy
import functools
from typing import Any

from nova import objects
from nova.conf import CONF

from sev_driver import (
    answers,
    audit,
    conf,
    domain,
    forbidden_devices,
    guard,
    guest,
    guest_request,
    leftovers,
    monitoring,
    moves,
    providers,
    releases,
    requirements,
    start,
    translate,
    watch,
    withdrawal,
)
from sev_driver.requirements import Setting

conf.register_opts(CONF)


class SEVDriver(moves.Moves):
    """Runs guests with memory encrypted by AMD SEV, and all others as ever.

    A guest that asks for no encryption goes through Nova's driver untouched.
    """

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        releases.check_nova()
        self._policies = conf.policies(CONF)
        super().__init__(virtapi, read_only)
        answers.keep(self._host)
        releases.mend_reconnection(self._host)
        releases.mend_firmware_choice(self._host)
        guest.guard_lookups(self._host, self._refusals)
        self._audit = audit.Audit(self._host, CONF.sev.stop_unencrypted_guests)
        self._leftovers = leftovers.Leftovers(self._host)
        self._watch = watch.Watch(self._host)
        told = monitoring.Monitoring(self._refusals, self._audit)
        self._slots = providers.SlotProviders(self._host, self._watch, virtapi, told)

    def init_host(self, host: str) -> None:
        super().init_host(host)
        self._watch.capabilities()

    def _validate_mem_encryption_configuration(self, instances: Any) -> None:
        """Nova 34: at start, with all instances of this host."""
        verdict = super()._validate_mem_encryption_configuration
        start.judge(instances, self._watch.capabilities(), verdict)

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """Nova's periodic task; the audit rides on it."""
        result: dict[str, Any] = super().get_available_resource(nodename)
        self._leftovers.sweep(CONF.host)
        if self._audit.due(CONF.sev.audit_interval):
            self._audit.run(CONF.host)
        return result

    # Placement

    def update_provider_tree(
        self, provider_tree: Any, nodename: str, allocations: Any = None
    ) -> None:
        """Nova's driver, and then the slots, where Nova 32 and later has them."""
        update = self._slots.begin(provider_tree, nodename, allocations)
        super().update_provider_tree(provider_tree, nodename, allocations)
        self._slots.finish(update, self.static_traits)
        self.provider_tree = copy.deepcopy(provider_tree)

    def _get_memory_encrypted_slots(self) -> int:
        """Nova 31 and older, of the host's own provider."""
        return 0

    def _get_memory_encryption_inventories(self) -> dict[str, dict[str, Any]]:
        """Nova 32 and later; what is not AMD's is Nova's to report."""
        return providers.others(self._host, self._watch.capabilities())

    @staticmethod
    def _is_reshape_needed_memory_encryption_on_root(*args: Any) -> bool:
        """Nova 32 and later; what is on the host's own provider is AMD's."""
        return False

    # Guests

    def _require(self, request: requirements.GuestRequest) -> None:
        """:raises RequirementsNotMet: the guest cannot have what it asks for."""
        requirements.refuse(requirements.check(request, self._watch.capabilities()))

    def _require_of(self, instance: objects.Instance, *ports: Setting) -> None:
        """Call it before Nova destroys a domain: a refusal changes nothing."""
        request = guest_request.of(instance)
        if request is not None:
            self._require(request.with_passthrough(ports))
            translate.settle_machine_type(instance, request)

    def spawn(
        self,
        context: Any,
        instance: objects.Instance,
        image_meta: objects.ImageMeta,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        args = (injected_files, admin_password, allocations, *args)
        request = guest_request.of(instance)
        if request is None:
            super().spawn(context, instance, image_meta, *args, **kwargs)
            return
        build_error = functools.partial(translate.build_error, instance)
        with self._refusals.told_as(build_error, instance):
            ports = guest_request.direct_ports(kwargs.get("network_info"))
            self._require_of(instance, *ports)
            self._require_slot(context, request, allocations)
            image_meta = translate.encrypted_image_meta(instance, image_meta)
            with self._leftovers.noted(instance):
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
        if guest_request.of(instance) is not None:
            image_meta = translate.encrypted_image_meta(instance, image_meta)
        with self._refusals.told_as(translate.operation_error, instance):
            super().rescue(context, instance, network_info, image_meta, *args, **kwargs)

    def unrescue(self, context: Any, instance: objects.Instance) -> None:
        with self._refusals.told_as(translate.operation_error, instance):
            self._require_of(instance)
        super().unrescue(context, instance)

    def rebuild(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        # An evacuation has nothing to destroy, and is refused by spawn.
        request = guest_request.of(instance)
        if request is not None and not kwargs.get("evacuate"):
            with self._refusals.told_as(translate.unchanged_error, instance):
                self._require_of(instance)
                self._require_slot(context, request, kwargs.get("allocations"))
        super().rebuild(context, instance, *args, **kwargs)

    def _hard_reboot(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        """Power on and host boot come by here, too."""
        with self._refusals.told_as(translate.operation_error, instance):
            self._require_of(instance)
            super()._hard_reboot(context, instance, *args, **kwargs)

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
        make = super()._get_guest_xml
        request = guest_request.of(instance)
        if request is None:
            plain: str = make(
                context, instance, network_info, disk_info, image_meta, *args, **kwargs
            )
            return plain
        self._require(request)
        image_meta = translate.encrypted_image_meta(instance, image_meta)
        releases.keep_firmware(kwargs.get("old_guest"))
        args = (network_info, disk_info, image_meta, *args)
        with releases.firmware_for(request.model):
            xml: str = make(context, instance, *args, **kwargs)
        root = domain.read(xml)
        requirements.refuse(forbidden_devices.check(request, root))
        launch = self._policies.launch_security(request.model)
        select_anew = releases.selects_no_firmware_for(request.model)
        return domain.complete(domain.Plan(launch, select_anew), root)

    def _create_guest(
        self, context: Any, xml: str, instance: objects.Instance, *args: Any, **kw: Any
    ) -> Any:
        """Every domain that Nova defines comes by here, saved XML included."""
        request = guest_request.of(instance)
        if request is not None:
            with self._refusals.told_as(translate.operation_error, instance):
                guard.check(request.model, xml, CONF.sev.allow_debug)
        return super()._create_guest(context, xml, instance, *args, **kw)

    def destroy(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        withdrawal.note_rebuild(self._host, instance)
        super().destroy(context, instance, *args, **kwargs)

    def attach_interface(
        self, context: Any, instance: objects.Instance, image_meta: Any, vif: Any
    ) -> None:
        request = guest_request.of(instance)
        if request is not None:
            # Nova plugs the port before it attaches it, and would leave it so.
            with self._refusals.told_as(translate.operation_error, instance):
                self._require(
                    request.with_passthrough(guest_request.direct_ports([vif]))
                )
        super().attach_interface(context, instance, image_meta, vif)
