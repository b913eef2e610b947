# SPDX-License-Identifier: Apache-2.0

"""verdict: what is refused at which door."""

from __future__ import annotations

import dataclasses

import pytest

from sev_driver.compute import doors, verdict
from sev_driver.compute.doors import Door
from sev_driver.compute.verdict import (
    ExistingDomain,
    KernelBoot,
    Observed,
    decide,
)
from sev_driver.domain.forbidden_devices import Disk
from sev_driver.domain.xml import parse
from sev_driver.exceptions import Requirement, Violation
from sev_driver.guest import launch_inputs, near_misses
from sev_driver.guest.input_keys import Owner
from sev_driver.guest.requirements import GuestRequest, Setting
from sev_driver.host.capabilities import HostCapabilities, ModelCapability, ObstacleKind
from sev_driver.host.processor import Topology
from sev_driver.model import (
    SEV,
    SEV_ES,
    SEV_SNP,
    AnyModel,
    ForeignModel,
    MemoryEncryptionModel,
)
from sev_driver.nova_release import NovaRelease

GOOD = GuestRequest(SEV, ("hw:mem_encryption of flavor m1.sev",), firmware_type="uefi")
SNP_SLOT = {"node1_amd_sev_snp": {"resources": {"MEM_ENCRYPTION_CONTEXT": 1}}}
SLOT = {"node1_amd_sev": {"resources": {"MEM_ENCRYPTION_CONTEXT": 1}}}
OFF = HostCapabilities((ModelCapability(SEV, obstacle=ObstacleKind.PARAMETER_OFF),))
SEEN = Observed(allocations=SLOT)
GPU = "<hostdev type='mdev'/>"
USB = "<disk device='disk'><target dev='sda' bus='usb'/></disk>"


def domain(model: MemoryEncryptionModel | None, devices: str = "") -> ExistingDomain:
    root = parse(f"<domain><devices>{devices}</devices></domain>")
    return ExistingDomain(root, model)


def refused(
    door: Door, request: GuestRequest = GOOD, **seen: object
) -> list[Requirement]:
    found = decide(door, request, dataclasses.replace(SEEN, **seen))  # type: ignore[arg-type]
    return [violation.requirement for violation in found.violations]


STARTS = [
    doors.SPAWN,
    doors.REBUILD,
    doors.HARD_REBOOT,
    doors.POWER_OFF_FOR_RESCUE,
    doors.RESCUE,
    doors.UNRESCUE,
    doors.FINISH_MIGRATION,
]
#: Doors before which libvirt has a domain with the guest's key.
IN_PLACE = [door for door in STARTS if door.stays_here]


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_a_guest_that_lacks_nothing_passes_every_door(door: Door) -> None:
    assert refused(door, domain=domain(SEV)) == []


@pytest.mark.parametrize("door", STARTS, ids=lambda door: door.method)
@pytest.mark.parametrize("allocations", [{}, {"node1": {"resources": {"VCPU": 1}}}])
@pytest.mark.parametrize("model", [None, SEV])
def test_no_door_starts_a_guest_without_a_slot(
    door: Door, allocations: object, model: MemoryEncryptionModel | None
) -> None:
    found = refused(door, allocations=allocations, domain=domain(model))
    assert found == [Requirement.SLOT]


@pytest.mark.parametrize("door", STARTS, ids=lambda door: door.method)
def test_a_slot_of_another_model_is_none(door: Door) -> None:
    slot = {"node1_amd_sev_es": SLOT["node1_amd_sev"]}
    assert refused(door, allocations=slot) == [Requirement.POOL]


@pytest.mark.parametrize("door", [*STARTS, doors.MIGRATE], ids=lambda door: door.method)
@pytest.mark.parametrize("existing", [None, domain(None), domain(SEV_ES)])
def test_silence_of_placement_is_no_slot(
    door: Door, existing: ExistingDomain | None
) -> None:
    found = refused(door, allocations=None, domain=existing)
    assert found == [Requirement.SLOT_UNKNOWN]


@pytest.mark.parametrize("door", STARTS, ids=lambda door: door.method)
def test_a_guest_with_its_key_need_not_wait_for_placement(door: Door) -> None:
    found = refused(door, allocations=None, domain=domain(SEV))
    assert found == ([] if door in IN_PLACE else [Requirement.SLOT_UNKNOWN])


def test_a_move_needs_placement_whatever_runs_here() -> None:
    found = refused(doors.MIGRATE, allocations=None, domain=domain(SEV))
    assert found == [Requirement.SLOT_UNKNOWN]


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_the_host_is_asked_where_the_guest_is_to_start(door: Door) -> None:
    wanted = [*STARTS, doors.REVERT]
    found = refused(door, host=OFF, domain=domain(SEV))
    assert found == ([Requirement.HOST] if door in wanted else [])


@pytest.mark.parametrize(
    "door", [*STARTS, doors.MIGRATE, doors.REVERT], ids=lambda door: door.method
)
def test_all_is_told_at_once(door: Door) -> None:
    unfit = dataclasses.replace(
        GOOD,
        machine_type=Setting("pc", "hw_machine_type of the image"),
        firmware_type=None,
        passthrough=(Setting("gpu:1", "pci_passthrough:alias of flavor m1.sev"),),
    )
    found = refused(door, unfit, allocations={})
    expected = {
        Requirement.MACHINE_TYPE,
        Requirement.FIRMWARE_TYPE,
        Requirement.NO_HOST_DEVICE,
    }
    assert expected <= set(found)
    assert (Requirement.SLOT in found) == (door is not doors.REVERT)


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_a_port_is_refused_wherever_ports_are_given(door: Door) -> None:
    port = Setting("direct", "the vnic type of port 1")
    found = refused(door, ports=(port,))
    asked = {doors.Check.PORTS, doors.Check.REQUEST} & door.checks
    assert found == ([Requirement.NO_HOST_DEVICE] if asked else [])


SNP_GUEST = dataclasses.replace(
    GOOD, model=SEV_SNP, firmware_stateless=True, allows_pci_devices=True
)


@pytest.mark.parametrize("obstacle", ["", "it needs QEMU 9.2.0"])
@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_an_allowed_port_is_refused_where_qemu_is_too_old(
    door: Door, obstacle: str
) -> None:
    port = Setting("direct", "the vnic type of port 1")
    host = HostCapabilities((ModelCapability(SEV_SNP, pci_obstacle=obstacle),))
    found = refused(door, SNP_GUEST, ports=(port,), host=host, allocations=SNP_SLOT)
    asked = {doors.Check.PORTS, doors.Check.REQUEST} & door.checks
    expected = [Requirement.NO_HOST_DEVICE] if asked and obstacle else []
    assert found == expected


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
@pytest.mark.parametrize("has_run", [False, True])
def test_vhost_user_port_without_shared_memory_is_refused_where_it_is_new(
    door: Door, has_run: bool
) -> None:
    found = refused(door, unshared_ports=("port-1", "port-2"), has_run=has_run)
    goes_on = has_run and door not in (doors.REBUILD, doors.ATTACH_INTERFACE)
    is_asked = doors.Check.PORTS in door.checks and door is not doors.ATTACH_DEVICE
    if is_asked:
        assert found == ([] if goes_on else [Requirement.SHARED_MEMORY])


def test_vhost_user_port_is_named_with_its_remedy() -> None:
    seen = dataclasses.replace(SEEN, unshared_ports=("port-1",))
    (violation,) = decide(doors.SPAWN, GOOD, seen).violations
    assert "port port-1 is vhost-user" in str(violation)
    assert "hw:mem_page_size=large" in violation.remedy
    assert len(str(violation)) <= 255


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_a_disk_on_ide_is_refused_wherever_disks_are_given(door: Door) -> None:
    found = refused(door, disks=(Disk("hda", "ide"),))
    asked = doors.Check.DISKS in door.checks
    assert found == ([Requirement.NO_IDE] if asked else [])


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_share_is_refused_wherever_a_server_with_one_can_pass(door: Door) -> None:
    can_pass = (
        doors.HARD_REBOOT,
        doors.POWER_OFF_FOR_RESCUE,
        doors.RESCUE,
        doors.MIGRATE,
        doors.FINISH_MIGRATION,
        doors.REVERT,
    )
    found = refused(door, has_share=True)
    assert found == ([Requirement.NO_SHARE] if door in can_pass else [])


@pytest.mark.parametrize(
    "door", [doors.HARD_REBOOT, doors.RESCUE], ids=lambda door: door.method
)
def test_a_host_device_of_the_existing_domain_is_not_taken_over(door: Door) -> None:
    assert refused(door, domain=domain(SEV, GPU)) == [Requirement.NO_HOST_DEVICE]


def test_what_the_flavor_asks_for_is_not_told_again_of_the_domain() -> None:
    request = GOOD.with_passthrough((Setting("1", "resources:VGPU of flavor m1"),))
    found = decide(
        doors.HARD_REBOOT, request, dataclasses.replace(SEEN, domain=domain(SEV, GPU))
    )
    (violation,) = found.violations
    assert "resources:VGPU" in violation.found


# A boot disk that stock Nova lets pass

BY_USB = dataclasses.replace(GOOD, disk_bus=Setting("usb", "hw_disk_bus of the image"))


@pytest.mark.parametrize(
    ("door", "has_run", "existing", "passes"),
    [
        (doors.SPAWN, False, None, False),  # a new server
        (doors.SPAWN, True, None, True),  # unshelved or evacuated
        (doors.REBUILD, True, domain(SEV, USB), False),
        (doors.HARD_REBOOT, True, domain(SEV, USB), True),
        (doors.HARD_REBOOT, True, None, True),  # its domain is gone
        (doors.HARD_REBOOT, True, domain(None, USB), False),  # it ran in the clear
        (doors.HARD_REBOOT, True, domain(SEV), False),  # it ran from another bus
        (doors.MIGRATE, True, domain(SEV, USB), True),
        (doors.MIGRATE, True, domain(None, USB), False),  # a plain guest's resize
        (doors.FINISH_MIGRATION, True, None, True),
        (doors.REVERT, True, domain(SEV, USB), True),
    ],
)
def test_a_boot_disk_is_tolerated_only_where_the_guest_has_run_so(
    door: Door, has_run: bool, existing: ExistingDomain | None, passes: bool
) -> None:
    seen = dataclasses.replace(SEEN, has_run=has_run, domain=existing)
    found = decide(door, BY_USB, seen)
    assert [v.requirement for v in found.violations] == (
        [] if passes else [Requirement.BOOT_BUS]
    )
    assert bool(found.tolerated) == passes


def test_nothing_else_is_tolerated() -> None:
    unfit = dataclasses.replace(BY_USB, firmware_type=None)
    found = refused(doors.HARD_REBOOT, unfit, has_run=True, domain=domain(SEV, USB))
    assert found == [Requirement.FIRMWARE_TYPE]


@pytest.mark.parametrize("stock", [False, True])
@pytest.mark.parametrize("is_open", [False, True])
def test_a_move_to_stock_needs_a_machine_type_in_the_image(
    stock: bool, is_open: bool
) -> None:
    found = refused(
        doors.MIGRATE, goes_to_stock=stock, leaves_machine_type_open=is_open
    )
    assert found == ([Requirement.NEW_HOST] if stock and is_open else [])


def test_a_move_to_a_host_that_offers_no_slots_any_more_is_refused() -> None:
    for request in (GOOD, OURS):
        found = refused(doors.MIGRATE, request, new_host_lost_slots=True)
        assert found == [Requirement.NEW_HOST_SLOTS]


@pytest.mark.parametrize("release", [31, 33])
@pytest.mark.parametrize("has_run", [False, True])
@pytest.mark.parametrize("door", STARTS, ids=lambda door: door.method)
def test_new_guest_of_a_model_that_the_next_nova_cannot_read_is_refused(
    door: Door, has_run: bool, release: int
) -> None:
    is_new = door is doors.SPAWN and not has_run and release == 31
    assert refused(
        door,
        domain=domain(SEV),
        has_run=has_run,
        image_model="amd-sev-snp",
        release=NovaRelease(release),
    ) == ([Requirement.IMAGE_MODEL] if is_new else [])


@pytest.mark.parametrize("has_run", [False, True])
@pytest.mark.parametrize("door", STARTS, ids=lambda door: door.method)
def test_new_guest_of_a_misspelt_model_is_refused(door: Door, has_run: bool) -> None:
    slips = near_misses.of_flavor("flavor m1", {"sev:modle": "amd-sev-es"})
    request = dataclasses.replace(GOOD, misspelt_models=slips)
    is_new = door is doors.SPAWN and not has_run
    found = refused(door, request, domain=domain(SEV), has_run=has_run)
    assert found == ([Requirement.SPELLING] if is_new else [])


OURS = dataclasses.replace(GOOD, on_stock_nova="in the clear")


@pytest.mark.parametrize(
    ("request_", "goes_to_stock", "refuses"),
    [
        (GOOD, True, False),
        (GOOD, None, False),
        (OURS, False, False),
        (OURS, True, True),
        (OURS, None, True),
        (dataclasses.replace(OURS, requires_sev_driver=True), True, True),
    ],
)
def test_a_guest_that_stock_would_start_otherwise_is_not_sent_there(
    request_: GuestRequest, goes_to_stock: bool | None, refuses: bool
) -> None:
    found = refused(doors.MIGRATE, request_, goes_to_stock=goes_to_stock)
    assert found == [Requirement.SEV_DRIVER] * refuses


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
@pytest.mark.parametrize("request_", [GOOD, OURS])
def test_a_host_prepared_for_stock_builds_no_guest_that_it_would_start_otherwise(
    door: Door, request_: GuestRequest
) -> None:
    found = refused(door, request_, domain=domain(SEV), is_prepared_for_stock=True)
    builds = door in (doors.SPAWN, doors.REBUILD) and request_ is OURS
    assert found == [Requirement.SEV_DRIVER] * builds


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_a_flavor_is_warned_of_where_its_guest_arrives(door: Door) -> None:
    arrives = door in (doors.SPAWN, doors.FINISH_MIGRATION)
    kept_off = dataclasses.replace(OURS, requires_sev_driver=True)
    assert verdict.needs_host_trait(door, OURS) is arrives
    assert not verdict.needs_host_trait(door, kept_off)
    assert not verdict.needs_host_trait(door, GOOD)


@pytest.mark.parametrize(
    ("door", "violations", "exchanges"),
    [
        (doors.SPAWN, [Requirement.POOL], True),
        (doors.MIGRATE, [Requirement.POOL], True),
        (doors.FINISH_MIGRATION, [Requirement.POOL], True),
        (doors.REBUILD, [Requirement.POOL], True),
        (doors.HARD_REBOOT, [Requirement.POOL], False),
        (doors.SPAWN, [], False),
        (doors.SPAWN, [Requirement.SLOT], False),
        (doors.SPAWN, [Requirement.POOL, Requirement.BOOT_BUS], False),
    ],
)
def test_a_slot_is_exchanged_where_it_is_new_and_all_that_is_wrong(
    door: Door, violations: list[Requirement], exchanges: bool
) -> None:
    found = tuple(Violation(each, "who", "found", "do", SEV) for each in violations)
    assert verdict.should_exchange_slot(door, verdict.Verdict(found)) is exchanges


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("", None),
        ('<launchSecurity type="tdx"/>', ForeignModel.INTEL_TDX),
        ('<launchSecurity type="s390-pv"/>', None),
        ('<launchSecurity type="sev-snp"/>', MemoryEncryptionModel.AMD_SEV_SNP),
    ],
)
def test_the_model_of_an_existing_domain(
    element: str, expected: AnyModel | None
) -> None:
    text = f"<domain>{element}</domain>"
    domain = ExistingDomain.parse(text)
    assert domain.any_model is expected


WRONG = launch_inputs.parse(
    {"sev:host_data": "x", "sev:policy": "x"}, Owner("", {}), Owner("", {})
)
#: Where the server would lose its guest, or could not be corrected afterwards.
INPUT_DOORS = [
    *STARTS,
    doors.POWER_OFF_FOR_SHELVE,
    doors.MIGRATE,
    doors.REVERT,
]


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
@pytest.mark.parametrize(
    ("request_", "takes", "expected"),
    [
        (SNP_GUEST, True, [Requirement.OWNER_INPUT] * 2),
        (SNP_GUEST, False, [Requirement.OWNER_INPUT]),
        (GOOD, True, [Requirement.NOT_SNP]),
    ],
)
def test_wrong_launch_inputs_are_refused_wherever_the_guest_is_lost(
    door: Door, request_: GuestRequest, *, takes: bool, expected: list[Requirement]
) -> None:
    held = SNP_SLOT if request_ is SNP_GUEST else SLOT
    found = refused(door, request_, inputs=WRONG, takes_inputs=takes, allocations=held)
    assert found == (expected if door in INPUT_DOORS else [])


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_owners_policy_is_compared_with_the_host_where_the_guest_is_to_start(
    door: Door,
) -> None:
    policy = launch_inputs.parse(
        {}, Owner("", {}), Owner("", {"sev:policy": "0x20000"})
    )
    found = refused(
        door,
        SNP_GUEST,
        inputs=policy,
        topology=Topology(has_smt=True),
        allocations=SNP_SLOT,
    )
    here = door in [*STARTS, doors.REVERT]
    assert found == ([Requirement.POLICY_ON_HOST] if here else [])


NO_PLACE = KernelBoot("/usr/share/OVMF.fd", measures=False)
HERE = [*STARTS, doors.REVERT]


def measured_domain(model: MemoryEncryptionModel, hashes: str) -> ExistingDomain:
    launch = f"<launchSecurity kernelHashes='{hashes}'/>"
    return ExistingDomain(parse(f"<domain>{launch}</domain>"), model)


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
@pytest.mark.parametrize("request_", [GOOD, SNP_GUEST])
def test_kernel_that_cannot_be_measured_is_refused_where_the_guest_starts(
    door: Door, request_: GuestRequest
) -> None:
    held = SNP_SLOT if request_ is SNP_GUEST else SLOT
    found = refused(door, request_, kernel=NO_PLACE, allocations=held)
    assert found == ([Requirement.KERNEL_HASHES] if door in HERE else [])
    for known in (KernelBoot(), KernelBoot("/x", measures=True), None):
        assert refused(door, request_, kernel=known, allocations=held) == []


@pytest.mark.parametrize("measures", [False, None])
@pytest.mark.parametrize(
    ("request_", "has_run", "existing", "starts"),
    [
        (GOOD, True, domain(SEV), True),
        (GOOD, True, measured_domain(SEV, "no"), True),
        (GOOD, True, None, True),
        (GOOD, True, measured_domain(SEV, "yes"), False),
        (GOOD, True, domain(None), False),
        (GOOD, False, None, False),
        (SNP_GUEST, True, measured_domain(SEV_SNP, "no"), False),
    ],
)
def test_guest_that_has_run_with_a_kernel_that_was_not_measured_goes_on(
    request_: GuestRequest,
    has_run: bool,
    existing: ExistingDomain | None,
    starts: bool,
    measures: bool | None,
) -> None:
    seen = dataclasses.replace(
        SEEN,
        kernel=KernelBoot("/usr/share/OVMF.fd", measures),
        has_run=has_run,
        domain=existing,
        allocations=SNP_SLOT if request_ is SNP_GUEST else SLOT,
    )
    found = decide(doors.HARD_REBOOT, request_, seen)
    tolerated = [v.requirement for v in found.tolerated]
    assert tolerated == ([Requirement.KERNEL_HASHES] if starts else [])
    # QEMU refuses the others, if this host does not know.
    assert bool(found.violations) == (not starts and measures is False)
    # A rebuild makes a new guest.
    found = decide(doors.REBUILD, request_, seen)
    assert found.tolerated == () and bool(found.violations) == (measures is False)
