# SPDX-License-Identifier: Apache-2.0

"""The compute driver: Nova's libvirt driver, with encryption by AMD SEV."""

from __future__ import annotations

import copy
import functools
from typing import Any

from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states
from nova.conf import CONF
from nova.virt.libvirt import driver as libvirt_driver

from sev_driver.compute import (
    admission,
    audit,
    build_warnings,
    capability_tracker,
    doors,
    encryption_removed,
    errors,
    failed_builds,
    failed_rebuilds,
    foreign_guests,
    guarded_guest,
    launch_facts,
    metrics_reporter,
    next_launch,
    nova_compat,
    provider_tree,
    refused_resizes,
    rescue,
    startup_check,
)
from sev_driver.compute.errors import ErrorTranslator
from sev_driver.compute.instance import (
    check_launch_inputs,
    launch_inputs_for,
    launch_security,
    record_default_machine_type,
    request_for,
    verify_next_domain,
    with_encryption_properties,
)
from sev_driver.conf import opts
from sev_driver.domain import encryption, forbidden_devices
from sev_driver.guest import launch_inputs
from sev_driver.guest.requirements import refuse
from sev_driver.host.libvirt_connection import LibvirtReplyCache

opts.register_opts(CONF)


class SEVDriver(libvirt_driver.LibvirtDriver):  # type: ignore[misc]
    """Nova's libvirt driver, extended for guests with memory encrypted by AMD SEV.

    Guests that do not ask for encryption are handled by Nova's driver alone.
    """

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        nova_compat.check_nova()
        nova_compat.tolerate_unknown_image_models()
        opts.check_values(CONF)
        self._errors = ErrorTranslator()
        super().__init__(virtapi, read_only)
        LibvirtReplyCache.install(self._host)
        nova_compat.patch_reconnection(self._host)
        nova_compat.patch_firmware_selection(self._host)
        guarded_guest.guard_lookups(self._host, self._errors)
        guarded_guest.guard_definitions(self._host)
        self._audit = audit.Audit(self._host, CONF.sev.stop_unencrypted_guests)
        self._failed_builds = failed_builds.FailedBuilds(self._host)
        self._foreign = foreign_guests.ForeignGuests(self._host)
        self._tracker = capability_tracker.CapabilityTracker(self._host)
        self._admission = admission.Admission(
            self._host, virtapi, self._tracker, self._foreign, self._errors
        )
        self._launches = launch_facts.LaunchRecorder(self._host, self._tracker)
        self._metrics = metrics_reporter.MetricsReporter(self._errors, self._audit)
        self._slots = provider_tree.ProviderTreeReporter(self._host, virtapi)

    def init_host(self, host: str) -> None:
        super().init_host(host)
        self._admission.hostname = host
        capabilities = self._tracker.current()
        startup_check.warn_of_preparation()
        if not nova_compat.installed_release().shows_guests_at_start:
            startup_check.report(host, capabilities, self._foreign)
        manager = nova_compat.compute_manager(self.virtapi)
        if manager is not None:
            nova_compat.keep_allocations(self.virtapi.reportclient)
            failed_rebuilds.watch(manager)
            nova_compat.watch_rescue_images(manager, self._check_rescue_image)

    def _validate_mem_encryption_configuration(self, instances: Any) -> None:
        """Check all instances of this host at startup (Nova 34 and later)."""
        verdict = super()._validate_mem_encryption_configuration
        host = self._tracker.current()
        startup_check.check_instances(instances, host, self._foreign, verdict)

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """Return Nova's resources; also run the audit, as this is a periodic task."""
        result: dict[str, Any] = super().get_available_resource(nodename)
        self._failed_builds.power_off_stale(CONF.host)
        if self._audit.due(CONF.sev.audit_interval):
            self._audit.run(CONF.host)
        return result

    # Placement

    def update_provider_tree(
        self, provider_tree: Any, nodename: str, allocations: Any = None
    ) -> None:
        """Let Nova's driver update the tree, then write the providers of slots."""
        update = self._slots.prepare(provider_tree, nodename, allocations)
        super().update_provider_tree(provider_tree, nodename, allocations)
        host = self._tracker.current()
        usage = self._slots.apply(
            update,
            host,
            self.static_traits,
            ask_placement=self._metrics.needs_all,
            snp_firmware=launch_facts.snp_firmware(self._tracker, host),
        )
        if update.has_changed:
            # Nova's driver keeps a copy of the tree, which lacks these changes.
            self.provider_tree = copy.deepcopy(provider_tree)
        self._metrics.report(host, usage)

    def _get_memory_encrypted_slots(self) -> int:
        """Return 0, so that Nova 31 and older reports no slots."""
        return 0

    def _get_memory_encryption_inventories(self) -> dict[str, dict[str, Any]]:
        """Return the models of other vendors, which Nova 32 and later reports."""
        return provider_tree.other_vendors_inventories(self._host)

    @staticmethod
    def _is_reshape_needed_memory_encryption_on_root(*args: Any) -> bool:
        """Return False: this driver itself moves slots of the root provider."""
        return False

    # Operations on guests. doors.py defines what is checked before each of them. Plain
    # guests are not checked.

    def spawn(
        self,
        context: Any,
        instance: objects.Instance,
        image_meta: objects.ImageMeta,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        build_warnings.warn(instance)
        with self._admission.through(
            doors.SPAWN, instance, context, instance, image_meta, *args, **kwargs
        ) as request:
            if request is None:
                super().spawn(context, instance, image_meta, *args, **kwargs)
                return
            record_default_machine_type(instance, request)
            encrypted = with_encryption_properties(instance, image_meta)
            with self._failed_builds.track(instance):
                super().spawn(context, instance, encrypted, *args, **kwargs)
            self._launches.record(instance, request)

    def rebuild(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        # An evacuation destroys nothing here: spawn checks it.
        if not kwargs.get("evacuate"):
            self._admission.check(
                doors.REBUILD, instance, context, instance, *args, **kwargs
            )
        super().rebuild(context, instance, *args, **kwargs)

    def _hard_reboot(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        """Hard reboot, power on, and start with the host."""
        with self._admission.through(
            doors.HARD_REBOOT, instance, context, instance, *args, **kwargs
        ) as request:
            if request is not None:
                record_default_machine_type(instance, request)
            super()._hard_reboot(context, instance, *args, **kwargs)
            self._launches.record(instance, request)

    def _soft_reboot(self, instance: objects.Instance) -> Any:
        with self._admission.through(doors.SOFT_REBOOT, instance) as request:
            has_rebooted = super()._soft_reboot(instance)
            if has_rebooted:
                self._launches.record(instance, request)
            return has_rebooted

    def power_off(self, instance: objects.Instance, *args: Any, **kwargs: Any) -> None:
        # What follows is only called when the guest is off: too late for a refusal.
        if instance.task_state == task_states.RESCUING:
            self._admission.check(doors.POWER_OFF_FOR_RESCUE, instance)
        elif instance.task_state == task_states.SHELVING:
            self._admission.check(doors.POWER_OFF_FOR_SHELVE, instance)
        super().power_off(instance, *args, **kwargs)

    def rescue(
        self,
        context: Any,
        instance: objects.Instance,
        network_info: Any,
        image_meta: objects.ImageMeta,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        with self._admission.through(
            doors.RESCUE,
            instance,
            context,
            instance,
            network_info,
            image_meta,
            *args,
            **kwargs,
        ) as request:
            if request is not None:
                # Nova computes the disks' buses before it creates the XML.
                image_meta = rescue.image_for(instance, image_meta)
            super().rescue(context, instance, network_info, image_meta, *args, **kwargs)
            self._launches.record(instance, request)

    def _check_rescue_image(
        self, instance: objects.Instance, image_meta: objects.ImageMeta
    ) -> None:
        """Refuse a rescue while its guest runs: called by Nova's manager."""
        with self._errors.translate_to(errors.for_operation, instance):
            check_launch_inputs(instance)
            find_domain = self._admission.find_domain
            next_launch.check_rescue(instance, self._tracker, find_domain)
            rescue.check_image(instance, image_meta)

    def unrescue(self, context: Any, instance: objects.Instance) -> None:
        with self._admission.through(doors.UNRESCUE, instance) as request:
            super().unrescue(context, instance)
            self._launches.record(instance, request)

    def migrate_disk_and_power_off(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> Any:
        # The last point at which a refusal leaves the guest running.
        try:
            self._admission.check(
                doors.MIGRATE, instance, context, instance, *args, **kwargs
            )
        except nova_exception.InstanceFaultRollback:
            refused_resizes.restore_requested_flavor(context, instance)
            raise
        return super().migrate_disk_and_power_off(context, instance, *args, **kwargs)

    def finish_migration(
        self,
        context: Any,
        migration: Any,
        instance: objects.Instance,
        disk_info: Any,
        network_info: Any,
        image_meta: objects.ImageMeta,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        loses_encryption = encryption_removed.warn_if_resize_disables_encryption(
            instance
        )
        if loses_encryption:
            launch_facts.forget(instance)
        call = (context, migration, instance, disk_info, network_info)
        with self._admission.through(
            doors.FINISH_MIGRATION, instance, *call, image_meta, *args, **kwargs
        ) as request:
            if loses_encryption or request is not None:
                # This is the user's image, as in rescue. A guest that is no longer
                # encrypted keeps its machine type, so that it can be reverted.
                image_meta = with_encryption_properties(instance, image_meta)
            super().finish_migration(*call, image_meta, *args, **kwargs)
            self._launches.record(instance, request)
        if loses_encryption:
            encryption_removed.add_event(context, instance)

    def finish_revert_migration(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        with self._admission.through(
            doors.REVERT, instance, context, instance, *args, **kwargs
        ) as request:
            super().finish_revert_migration(context, instance, *args, **kwargs)
            self._launches.record(instance, request)

    def suspend(self, context: Any, instance: objects.Instance) -> None:
        self._admission.check(doors.SUSPEND, instance)
        super().suspend(context, instance)

    def check_can_live_migrate_source(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> Any:
        self._admission.check(doors.LIVE_MIGRATION_SOURCE, instance)
        return super().check_can_live_migrate_source(context, instance, *args, **kwargs)

    def check_can_live_migrate_destination(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> Any:
        self._admission.check(doors.LIVE_MIGRATION_DESTINATION, instance)
        return super().check_can_live_migrate_destination(
            context, instance, *args, **kwargs
        )

    def attach_interface(
        self, context: Any, instance: objects.Instance, image_meta: Any, vif: Any
    ) -> None:
        # Nova plugs the port before it attaches it, and does not unplug it on failure.
        self._admission.check(
            doors.ATTACH_INTERFACE, instance, context, instance, image_meta, vif
        )
        super().attach_interface(context, instance, image_meta, vif)

    # Common to these operations

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
        make = functools.partial(
            super()._get_guest_xml, context, instance, network_info
        )
        admitted = self._admission.admitted(
            instance, has_old_guest=kwargs.get("old_guest") is not None
        )
        if admitted is None:
            plain: str = make(disk_info, image_meta, *args, **kwargs)
            return plain
        request = admitted.request
        if "old_guest" in kwargs and not admitted.keeps_domain:
            # Nova would reuse the firmware of a guest with another model.
            kwargs["old_guest"] = None
        nova_compat.preserve_firmware(kwargs.get("old_guest"))
        if kwargs.get("rescue"):
            encrypted = rescue.image_for(instance, image_meta)
            disk_info = rescue.disks(
                instance, encrypted, disk_info, kwargs.get("block_device_info")
            )
        else:
            encrypted = with_encryption_properties(instance, image_meta)
        release = nova_compat.installed_release()
        encrypt = functools.partial(
            encryption.encrypt_element,
            request=request,
            launch_security=launch_security(instance, request),
            reselect_firmware=release.ignores_model_in_firmware_selection(
                request.model
            ),
            tolerated=admitted.tolerated,
        )
        with nova_compat.making(request.model, encrypt):
            xml: str = make(disk_info, encrypted, *args, **kwargs)
        return xml

    def _get_guest_config(self, *args: Any, **kwargs: Any) -> Any:
        """Let the domain be encrypted before Nova renders it, which saves a parse."""
        return nova_compat.change_domain(super()._get_guest_config(*args, **kwargs))

    def _create_guest(
        self, context: Any, xml: str, instance: objects.Instance, *args: Any, **kw: Any
    ) -> Any:
        """Verify each domain that Nova defines, also one with saved XML."""
        request = request_for(instance)
        if request is not None:
            with self._errors.translate_to(errors.for_operation, instance):
                verify_next_domain(instance, request, xml)
                launch_facts.check_id_block(instance, xml, self._tracker)
        else:
            with self._errors.translate_to(errors.for_operation, instance):
                foreign_guests.verify_domain(instance, xml)
        try:
            return super()._create_guest(context, xml, instance, *args, **kw)
        except Exception as error:
            if request is not None:
                inputs = launch_inputs_for(instance)
                # In our words, where they say more than QEMU's.
                refuse(
                    forbidden_devices.explain_error(request, xml, str(error))
                    + launch_inputs.explain_error(inputs, str(error))
                )
            raise

    def destroy(
        self, context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> None:
        if encryption_removed.warn_if_rebuild_disables_encryption(self._host, instance):
            launch_facts.forget(instance)
            encryption_removed.add_event(context, instance)
        if failed_rebuilds.note_destroy(instance):
            self._admission.renew_record(instance)
        super().destroy(context, instance, *args, **kwargs)
