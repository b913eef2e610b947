# SPDX-License-Identifier: Apache-2.0

"""What is wrong with a guest before an operation on it: one decision from the facts.

:data:`sev_driver.compute.doors.DOORS` says what is checked at which door.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sev_driver.compute.doors import (
    FINISH_MIGRATION,
    REBUILD,
    SPAWN,
    Check,
    Door,
    SlotExchange,
)
from sev_driver.domain import forbidden_devices, verify, xml
from sev_driver.domain.forbidden_devices import Disk
from sev_driver.exceptions import Fault, Requirement, Violation
from sev_driver.guest import launch_inputs, requirements
from sev_driver.guest.launch_inputs import NO_INPUTS, LaunchInputs
from sev_driver.guest.policy import DEFAULT_SNP_POLICY, SnpPolicy
from sev_driver.guest.requirements import GuestRequest, Setting, UnmetRequirement
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.host.processor import UNKNOWN_TOPOLOGY, Topology
from sev_driver.model import (
    HOST_TRAIT,
    SEV_SNP,
    AnyModel,
    ForeignModel,
    MemoryEncryptionModel,
)
from sev_driver.nova_release import NovaRelease
from sev_driver.placement import allocations as slot_allocations

#: Operations that build a guest on this host.
_ARRIVALS: Final = (SPAWN, REBUILD)


@dataclasses.dataclass(frozen=True)
class ExistingDomain:
    """A guest's domain in libvirt: its parsed XML, and its model."""

    root: Any
    model: MemoryEncryptionModel | None

    @classmethod
    def parse(cls, text: str) -> ExistingDomain:
        """Return the domain of this XML.

        :raises DomainXMLError: it is not a domain.
        """
        return cls(xml.parse_domain(text), verify.encryption_model(text))

    @property
    def any_model(self) -> AnyModel | None:
        """The model that the domain is encrypted with, of any vendor; None: none."""
        element = self.root.find("./launchSecurity")
        if self.model is not None or element is None:
            return self.model
        return next(
            (
                each
                for each in ForeignModel
                if each.launch_security == element.get("type")
            ),
            None,
        )


@dataclasses.dataclass(frozen=True)
class KernelBoot:
    """The guest firmware of a guest whose kernel the host loads.

    ``firmware`` is its file. ``measures`` is true if it has a place for the hashes of
    the kernel, so that the launch measurement has them. Both are None if unknown.
    """

    firmware: str | None = None
    measures: bool | None = None


@dataclasses.dataclass(frozen=True)
class NextLaunch:
    """What is known of a guest's next launch on this host, before the guest is stopped.

    ``digest`` is its launch digest, None if it is unknown. ``same`` is the digest
    without what changes with the operation, and ``other`` says what changes.
    """

    digest: str | None = None
    same: str | None = None
    other: str = ""


@dataclasses.dataclass(frozen=True)
class Observed:
    """The facts about a guest before an operation; those not checked are empty.

    ``allocations`` is None if Placement does not answer. ``none_free`` is true if the
    host has no free slot of the guest's model, and ``one_free`` if it has one, for
    which the guest's slot will be exchanged. ``has_run`` is true if the server has
    been started before, with any driver. ``leaves_machine_type_open`` is true if its
    image names no machine type, and false if that is unknown. ``goes_to_stock`` is true
    if the server moves to a host without this driver, and None if that is unknown.
    ``new_host_lost_slots`` is true if the new host has this driver, but no longer
    offers slots. ``is_prepared_for_stock`` is true if this host is prepared for Nova's
    own driver. ``unshared_ports`` are the ids of vhost-user ports of a guest without
    shared memory. ``has_share`` is true if a share is attached to the server.
    ``image_model`` is the model that the image names, and ``release`` the installed
    Nova. ``inputs`` are the launch inputs, ``takes_inputs`` is true if nova.conf allows
    them, ``snp_policy`` is its policy, and ``topology`` is read if a policy depends on
    it. ``kernel`` is None if the host does not load the guest's kernel.
    ``launch`` is known of guests with an ID block.
    """

    host: HostCapabilities | None = None
    allocations: Mapping[str, Mapping[str, Any]] | None = None
    provider_name: Callable[[str], str] = str
    none_free: bool = False
    one_free: bool = False
    ports: tuple[Setting, ...] = ()
    unshared_ports: tuple[str, ...] = ()
    disks: Sequence[Disk] = ()
    has_share: bool = False
    domain: ExistingDomain | None = None
    has_run: bool = False
    leaves_machine_type_open: bool = False
    goes_to_stock: bool | None = False
    new_host_lost_slots: bool = False
    is_prepared_for_stock: bool = False
    image_model: str | None = None
    release: NovaRelease | None = None
    inputs: LaunchInputs = NO_INPUTS
    takes_inputs: bool = True
    snp_policy: SnpPolicy = DEFAULT_SNP_POLICY
    topology: Topology = UNKNOWN_TOPOLOGY
    kernel: KernelBoot | None = None
    launch: NextLaunch = NextLaunch()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The violations that lead to a refusal, and those that are tolerated."""

    violations: tuple[Violation, ...]
    tolerated: tuple[Violation, ...] = ()


def decide(door: Door, request: GuestRequest, seen: Observed) -> Verdict:
    """Return all violations at once, at most one source for each requirement.

    The sources are the request, the devices that Nova lists, and the existing domain,
    in this order: a device of the flavor is not reported again for the domain.
    """
    violations: list[Violation] = []
    for source in _sources(door, request, seen):
        known = {violation.requirement for violation in violations}
        violations += [each for each in source if each.requirement not in known]
    tolerated = tuple(v for v in violations if _is_tolerated(v, door, request, seen))
    refused = tuple(v for v in violations if v not in tolerated)
    return Verdict(refused, tolerated)


def should_exchange_slot(door: Door, verdict: Verdict) -> bool:
    """Return whether the slot's model is the only violation, and may be changed."""
    lacking = {violation.requirement for violation in verdict.violations}
    return lacking == {Requirement.POOL} and door.slot_exchange is not SlotExchange.NO


def _sources(
    door: Door, request: GuestRequest, seen: Observed
) -> Iterator[Iterable[Violation]]:
    found = requirements.check_request(
        request.with_passthrough(seen.ports), seen.host or HostCapabilities(())
    )
    if Check.REQUEST in door.checks:
        yield [
            v for v in found if v.fault is Fault.REQUEST or Check.HOST in door.checks
        ]
    elif Check.PORTS in door.checks:
        yield [v for v in found if v.requirement is Requirement.NO_HOST_DEVICE]
    if Check.INPUTS in door.checks and seen.inputs.keys:
        yield _inputs(door, request, seen)
    if Check.HOST in door.checks:
        yield [each.attributed_to(request) for each in _kernel(door, request, seen)]
    if door is SPAWN and not seen.has_run:
        yield requirements.check_spelling(request)
        if seen.release is not None:
            named = seen.image_model
            yield requirements.check_image_model(request, named, seen.release)
    if Check.SLOT in door.checks:
        yield _slot(door, request, seen)
    if Check.NEW_HOST in door.checks:
        yield [finding.attributed_to(request) for finding in _new_host(request, seen)]
    if door in _ARRIVALS and seen.is_prepared_for_stock:
        yield [finding.attributed_to(request) for finding in _prepared_host(request)]
    yield from _device_sources(door, request, seen)


def _device_sources(
    door: Door, request: GuestRequest, seen: Observed
) -> Iterator[Iterable[Violation]]:
    if Check.PORTS in door.checks:
        yield requirements.check_vhost_user(request, seen.unshared_ports)
    if Check.DISKS in door.checks:
        yield forbidden_devices.check_disks(request, seen.disks)
    if Check.SHARES in door.checks:
        yield forbidden_devices.check_shares(request, has_share=seen.has_share)
    if Check.DOMAIN in door.checks and seen.domain is not None:
        # Nova keeps the domain's host devices, but creates its disks again.
        found = forbidden_devices.check_domain(request, seen.domain.root)
        yield [v for v in found if v.requirement is Requirement.NO_HOST_DEVICE]


def _inputs(door: Door, request: GuestRequest, seen: Observed) -> tuple[Violation, ...]:
    found = launch_inputs.check(
        seen.inputs, request.model, seen.snp_policy, allowed=seen.takes_inputs
    )
    if Check.HOST in door.checks and request.model is SEV_SNP:
        found += launch_inputs.check_host(seen.inputs, seen.topology)
    # Of one that is wrong in itself, the digest says nothing.
    return found or check_digest(seen.inputs, seen.launch)


def check_digest(inputs: LaunchInputs, launch: NextLaunch) -> tuple[Violation, ...]:
    """Return a violation if the ID block is not for the next launch."""
    signed = inputs.signed
    if signed is None:
        return ()
    if launch.digest is not None:
        return signed.digest_violations(launch.digest)
    if launch.other and launch.same == signed.digest:
        return (signed.other_digest(launch.other),)
    return ()


def _kernel(
    door: Door, request: GuestRequest, seen: Observed
) -> Iterator[UnmetRequirement]:
    """Yield a requirement if the guest's kernel would not be measured.

    If that is unknown, QEMU refuses the guest; but one that has run without, starts.
    """
    boot = seen.kernel
    if boot is None or boot.measures:
        return
    goes_on = door.keeps_boot_bus and _ran_unmeasured(request, seen)
    if boot.measures is None and not goes_on:
        return
    firmware = f"guest firmware {boot.firmware or ''}".strip() + " of this host"
    place = "a place for the hash of the image's kernel"
    if boot.measures is None:
        found = f"it is unknown whether {firmware} has {place}"
    else:
        found = f"{firmware} has no {place.removeprefix('a ')}"
    yield UnmetRequirement(
        Requirement.KERNEL_HASHES,
        found,
        "use a host with ovmf-amdsev, or an image without kernel_id",
    )


def _ran_unmeasured(request: GuestRequest, seen: Observed) -> bool:
    """Return whether the guest can have run with a kernel that was not measured.

    Earlier versions of this driver, and Nova, start guests with SEV and SEV-ES so.
    """
    if request.model is SEV_SNP or not seen.has_run:
        return False
    if seen.domain is None:
        return True
    launch = seen.domain.root.find("./launchSecurity")
    measured = launch is not None and launch.get("kernelHashes") == "yes"
    return seen.domain.model is request.model and not measured


def _slot(door: Door, request: GuestRequest, seen: Observed) -> tuple[Violation, ...]:
    if seen.one_free:
        return ()
    if seen.allocations is not None:
        return slot_allocations.check_allocation(
            request,
            seen.allocations,
            seen.provider_name,
            door.remedy,
            none_free=seen.none_free,
        )
    if door.stays_here and seen.domain and seen.domain.model is request.model:
        # The guest has its key. A hard reboot should not fail because Placement does
        # not answer for a minute.
        return ()
    unknown = UnmetRequirement(
        Requirement.SLOT_UNKNOWN,
        "Placement does not say whether it has a slot",
        "try again when Placement answers",
    )
    return (unknown.attributed_to(request),)


def _new_host(request: GuestRequest, seen: Observed) -> Iterator[UnmetRequirement]:
    """Yield the requirements that the new host of a move does not meet.

    Nova passes the user's image to the new host, without the machine type that this
    driver recorded with the server.
    """
    if seen.new_host_lost_slots:
        yield UnmetRequirement(
            Requirement.NEW_HOST_SLOTS,
            "the new host no longer offers it",
            "use another host, or see the log of nova-compute on the new host",
        )
    elif request.on_stock_nova and seen.goes_to_stock is None:
        yield UnmetRequirement(
            Requirement.SEV_DRIVER,
            "Placement does not say whether the new host has sev_driver",
            "try again when Placement answers",
        )
    elif request.on_stock_nova and seen.goes_to_stock:
        yield UnmetRequirement(
            Requirement.SEV_DRIVER,
            f"the new host has no sev_driver, and stock Nova would start it "
            f"{request.on_stock_nova}",
            f"set trait:{HOST_TRAIT}=required on the flavor",
        )
    if seen.goes_to_stock and seen.leaves_machine_type_open:
        yield UnmetRequirement(
            Requirement.NEW_HOST,
            "its image names no machine type, which the new host needs",
            "set it with nova-manage image_property, or use a host with sev_driver",
        )


def _prepared_host(request: GuestRequest) -> Iterator[UnmetRequirement]:
    """Yield a requirement if Nova's own driver would not start the guest as requested.

    This host is prepared for that driver.
    """
    if request.on_stock_nova:
        yield UnmetRequirement(
            Requirement.SEV_DRIVER,
            f"this host is prepared for stock Nova, which would start it "
            f"{request.on_stock_nova}",
            "use another host, or unset [sev] prepare_for_stock_nova here",
        )


def needs_host_trait(door: Door, request: GuestRequest) -> bool:
    """Return whether the guest could move to a host that starts it in another way."""
    arrives = door in (SPAWN, FINISH_MIGRATION)
    return arrives and bool(request.on_stock_nova) and not request.requires_sev_driver


def is_known_boot_bus(violation: Violation, has_run: bool) -> bool:
    """Return whether the guest has run before with a boot bus that is not supported.

    Stock Nova starts guests from boot disks on USB, or on a SCSI controller other than
    virtio-scsi. They are encrypted nevertheless: such a disk is emulated, and uses only
    the pages that the guest shares. New guests are refused, because few images boot
    from such disks. A guest that has run would lose its disk, so it may start.
    """
    return has_run and violation.requirement is Requirement.BOOT_BUS


def _is_tolerated(
    violation: Violation, door: Door, request: GuestRequest, seen: Observed
) -> bool:
    """Return whether a violation is tolerated, because the guest has run with it.

    This is a boot bus that the existing domain has as well, a port without traffic, or
    a kernel that is not measured.
    """
    if violation.requirement is Requirement.KERNEL_HASHES:
        return door.keeps_boot_bus and _ran_unmeasured(request, seen)
    if violation.requirement is Requirement.SHARED_MEMORY:
        return door.keeps_boot_bus and seen.has_run
    if not door.keeps_boot_bus or not is_known_boot_bus(violation, seen.has_run):
        return False
    if seen.domain is None:
        return True
    if seen.domain.model is not request.model:
        return False
    existing = forbidden_devices.check_domain(request, seen.domain.root)
    return any(v.requirement is Requirement.BOOT_BUS for v in existing)
