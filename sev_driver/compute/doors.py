# SPDX-License-Identifier: Apache-2.0

"""The operations with which Nova starts, changes or moves a guest, and their checks.

A *door* is one of Nova's methods for such an operation. The table :data:`DOORS` is also
in the manual (never-in-the-clear.rst). ``tests/functional/test_doors.py`` compares it
with the source of Nova.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Final

from sev_driver.guest.operations import Operation
from sev_driver.placement import allocations as slot_allocations


class Check(enum.Enum):
    """What is checked before an operation; the values are in the manual's table."""

    #: The requirements that flavor and image must meet on any host.
    REQUEST = "request"
    #: Whether this host supports the model.
    HOST = "host"
    #: The server's slot in Placement.
    SLOT = "slot"
    #: Ports that are host devices, and ports that need shared memory.
    PORTS = "ports"
    #: The buses of the server's disks and volumes.
    DISKS = "disks"
    #: Whether a share (virtiofs) is attached to the server.
    SHARES = "shares"
    #: The devices of the existing domain that Nova keeps.
    DOMAIN = "existing domain"
    #: Whether the existing XML, with which the guest will start, is encrypted.
    XML = "existing XML"
    #: Whether the new host would start the guest encrypted as on this one.
    NEW_HOST = "new host"
    #: Whether a guest whose server no longer asks for encryption was encrypted: by its
    #: domain, or if it has none here, by the record with the server.
    RECORD = "record of the image"
    #: The launch inputs in metadata, image and flavor; also of plain guests.
    INPUTS = "launch inputs"
    #: Whether encrypted guests support the operation.
    OPERATION = "operation"


class Refusal(enum.Enum):
    """The effect of a refusal; the values are the functions of ``errors``."""

    #: Ends a build, or lets Nova try the next host.
    BUILD = "for_build"
    #: Fails the operation. If the guest is off, Nova sets the server to ERROR.
    OPERATION = "for_operation"
    #: Keeps the server in its state.
    ROLLBACK = "for_rollback"
    #: Ends a live migration before it starts.
    LIVE_MIGRATION = "for_live_migration"


class SlotExchange(enum.Enum):
    """Whether a slot of another model is exchanged for one of the guest's model."""

    #: The guest keeps its slot.
    NO = "no"
    #: Nova's scheduler has just claimed the slot. It is exchanged if the guest may
    #: start otherwise.
    NOW = "now"
    #: A later door exchanges the slot. Here, one of the guest's model must be free.
    LATER = "later"


@dataclasses.dataclass(frozen=True)
class Door:
    """One of Nova's operations on a guest.

    ``method`` is the method of Nova's driver (or of its Guest) that this driver
    overrides. ``callers`` are the functions of Nova's compute manager and libvirt code
    that call it, in all supported releases; a test fails if one is missing here.
    ``remedy`` is what to do about a missing slot.
    """

    method: str
    title: str
    checks: frozenset[Check]
    refusal: Refusal = Refusal.OPERATION
    callers: tuple[str, ...] = ()
    remedy: str = slot_allocations.SET_RESOURCES
    operation: Operation | None = None
    #: True if the guest keeps the slot that its domain already has on this host.
    stays_here: bool = False
    slot_exchange: SlotExchange = SlotExchange.NO
    #: True if a guest may be started that has run with a boot disk that only this
    #: driver refuses. Otherwise its user could never use the disk again. So it
    #: is with a port that carries nothing: the guest has run without it.
    keeps_boot_bus: bool = False
    #: True if libvirt has a domain of the guest before the operation.
    has_domain: bool = True
    #: True if the operation defines the guest's domain. Then the guest's model is
    #: recorded with the server: see encryption_record.
    defines_domain: bool = False


_DEVICES: Final = frozenset((Check.PORTS, Check.DISKS))
# Shares are not among them: a new server has none, and Nova does not rebuild, shelve or
# evacuate a server that has one.
_STARTS: Final = _DEVICES | {Check.REQUEST, Check.HOST, Check.SLOT, Check.INPUTS}

_NEW_SERVER: Final = "make a new server of the image"
_SHELVE: Final = "shelve and unshelve the server"

SPAWN = Door(
    "spawn",
    "Creation, evacuation, unshelve, and the second half of a rebuild",
    _STARTS | {Check.RECORD},
    Refusal.BUILD,
    (
        "manager._build_and_run_instance",
        "manager._rebuild_default_impl",
        "manager._finish_snapshot_based_resize_at_dest_spawn",
        "manager._unshelve_instance",
    ),
    keeps_boot_bus=True,
    has_domain=False,
    slot_exchange=SlotExchange.NOW,
    defines_domain=True,
)
#: The new image may name another model. The guest has its old slot until SPAWN, because
#: Nova can still fail before it destroys the guest.
REBUILD = Door(
    "rebuild",
    "Rebuild on the same host",
    _STARTS,
    Refusal.ROLLBACK,
    ("manager._do_rebuild_instance",),
    remedy=_NEW_SERVER,
    stays_here=True,
    slot_exchange=SlotExchange.LATER,
)
HARD_REBOOT = Door(
    "_hard_reboot",
    "Hard reboot, start, and start of the host",
    _STARTS | {Check.SHARES, Check.DOMAIN, Check.RECORD},
    callers=("driver.reboot", "driver.power_on", "driver.resume_state_on_host_boot"),
    remedy=_SHELVE,
    stays_here=True,
    keeps_boot_bus=True,
    defines_domain=True,
)
SOFT_REBOOT = Door(
    "_soft_reboot",
    "Soft reboot",
    frozenset((Check.XML,)),
    callers=("driver.reboot",),
)
POWER_OFF_FOR_RESCUE = Door(
    "power_off",
    "The first half of a rescue",
    frozenset(
        (
            Check.REQUEST,
            Check.HOST,
            Check.SLOT,
            Check.SHARES,
            Check.DOMAIN,
            Check.RECORD,
            Check.INPUTS,
        )
    ),
    callers=(
        "driver.migrate_disk_and_power_off",
        "manager._power_off_instance",
        "manager._cleanup_running_deleted_instances",
        "manager.soft_delete_instance",  # until Nova 30
    ),
    remedy=_SHELVE,
    stays_here=True,
    keeps_boot_bus=True,
)
RESCUE = Door(
    "rescue",
    "Rescue",
    _STARTS | {Check.SHARES, Check.DOMAIN, Check.RECORD},
    callers=("manager.rescue_instance",),
    remedy=_SHELVE,
    stays_here=True,
    keeps_boot_bus=True,
    defines_domain=True,
)
UNRESCUE = Door(
    "unrescue",
    "Unrescue",
    frozenset((Check.REQUEST, Check.HOST, Check.SLOT, Check.XML, Check.INPUTS)),
    callers=("manager.unrescue_instance",),
    remedy=_SHELVE,
    stays_here=True,
    keeps_boot_bus=True,
    defines_domain=True,
)
#: The guest is destroyed afterwards: unshelve would find no trace of its encryption.
#: Nor could its owner correct launch inputs: the metadata of a shelved server is fixed.
POWER_OFF_FOR_SHELVE = Door(
    "power_off",
    "The first half of a shelve",
    frozenset((Check.RECORD, Check.INPUTS)),
    callers=POWER_OFF_FOR_RESCUE.callers,
)
MIGRATE = Door(
    "migrate_disk_and_power_off",
    "Resize and cold migration, on the old host",
    # The host is not checked, because the guest leaves it.
    _DEVICES
    | {
        Check.REQUEST,
        Check.SLOT,
        Check.SHARES,
        Check.NEW_HOST,
        Check.RECORD,
        Check.INPUTS,
    },
    Refusal.ROLLBACK,
    ("manager._resize_instance",),
    keeps_boot_bus=True,
    slot_exchange=SlotExchange.NOW,
)
FINISH_MIGRATION = Door(
    "finish_migration",
    "Resize and cold migration, on the new host",
    _STARTS | {Check.SHARES},
    callers=("manager._finish_resize",),
    keeps_boot_bus=True,
    slot_exchange=SlotExchange.NOW,
    defines_domain=True,
)
REVERT = Door(
    "finish_revert_migration",
    "Resize and cold migration, reverted",
    # The slot is not checked: it may still be allocated to the migration.
    _DEVICES | {Check.REQUEST, Check.HOST, Check.SHARES, Check.INPUTS},
    callers=(
        "manager._init_instance",
        "manager._finish_revert_resize",
        "manager._finish_revert_snapshot_based_resize_at_source",
    ),
    keeps_boot_bus=True,
    defines_domain=True,
)
SUSPEND = Door(
    "suspend",
    "Suspend",
    frozenset((Check.OPERATION,)),
    Refusal.ROLLBACK,
    ("manager.suspend_instance", "driver._suspend_guest_for_snapshot"),
    operation=Operation.SUSPEND,
)
LIVE_MIGRATION_SOURCE = Door(
    "check_can_live_migrate_source",
    "Live migration, on the old host",
    frozenset((Check.OPERATION,)),
    Refusal.LIVE_MIGRATION,
    ("manager.check_can_live_migrate_source",),
    operation=Operation.LIVE_MIGRATION,
)
LIVE_MIGRATION_DESTINATION = Door(
    "check_can_live_migrate_destination",
    "Live migration, on the new host",
    frozenset((Check.OPERATION,)),
    Refusal.LIVE_MIGRATION,
    ("manager.check_can_live_migrate_destination",),
    operation=Operation.LIVE_MIGRATION,
)
ATTACH_INTERFACE = Door(
    "attach_interface",
    "A network interface attached while the guest runs",
    frozenset((Check.PORTS,)),
    callers=("manager._attach_interface", "driver._reattach_instance_vifs"),
)
ATTACH_DEVICE = Door(
    "Guest.attach_device",
    "A volume or another device attached while the guest runs",
    _DEVICES,
    callers=(
        "driver.attach_volume",
        "driver.attach_interface",
        "driver._attach_pci_devices",
        "driver._attach_direct_passthrough_ports",
        "driver._attach_mediated_devices",
    ),
)
#: The last two guards, which all of Nova's code uses, including future code.
CREATE_GUEST = Door(
    "_create_guest",
    "Every domain that Nova defines, with the XML that it has made or saved",
    frozenset((Check.XML,)),
    callers=(
        "driver.rescue",
        "driver.unrescue",
        "driver._create_guest_with_network",
    ),
)
LAUNCH = Door(
    "Guest.launch",
    "Every domain that Nova starts as libvirt has it",
    frozenset((Check.XML,)),
    callers=(
        "driver._create_guest",
        "driver._soft_reboot",
        "driver._resume_guest_after_snapshot",
    ),
)

DOORS: Final = (
    SPAWN,
    REBUILD,
    HARD_REBOOT,
    SOFT_REBOOT,
    POWER_OFF_FOR_RESCUE,
    POWER_OFF_FOR_SHELVE,
    RESCUE,
    UNRESCUE,
    MIGRATE,
    FINISH_MIGRATION,
    REVERT,
    SUSPEND,
    LIVE_MIGRATION_SOURCE,
    LIVE_MIGRATION_DESTINATION,
    ATTACH_INTERFACE,
    ATTACH_DEVICE,
    CREATE_GUEST,
    LAUNCH,
)


#: Calls with which Nova creates a guest's XML, or defines, starts, extends, saves or
#: moves its domain, and their callers. Each caller is a door, is only called by doors,
#: or has a comment that says why it need not be a door.
SEAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "_get_guest_xml": (
        "driver.spawn",
        "driver._hard_reboot",
        "driver.rescue",
        "driver.finish_migration",
        "driver.finish_revert_migration",
        "driver._get_existing_domain_xml",
    ),
    # Of a guest without a domain it makes the XML, which _get_guest_xml looks at.
    "_get_existing_domain_xml": ("driver.rescue", "driver.resume"),
    "_create_guest_with_network": (
        "driver.spawn",
        "driver._hard_reboot",
        "driver.finish_migration",
        "driver.finish_revert_migration",
        # Nothing is lost if _create_guest refuses: the guest is off.
        "driver.resume",
    ),
    "create": ("driver._create_guest",),
    "createWithFlags": ("guest.launch",),
    "createXML": (),
    "defineXML": ("host.write_instance_config",),
    # The two of the driver define what libvirt has, and start nothing. What libvirt
    # would refuse of that is left out: guarded_guest.guard_definitions.
    "write_instance_config": (
        "driver._live_snapshot",
        "driver._swap_volume",
        "guest.create",
    ),
    "attachDeviceFlags": ("guest.attach_device",),
    "attachDevice": (),
    # GuardedGuest refuses these two.
    "save_memory_state": ("driver.suspend",),
    "managedSave": ("guest.save_memory_state",),
    "migrate": ("driver._live_migration_operation",),
    "migrateToURI3": ("guest.migrate",),
    "restoreFlags": (),
    "revertToSnapshot": (),
}
