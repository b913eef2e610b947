# SPDX-License-Identifier: Apache-2.0

"""The requirements of an encrypted guest."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

from sev_driver.exceptions import Requirement, RequirementsNotMet, Violation
from sev_driver.guest.model_selection import AGREE
from sev_driver.guest.near_misses import NearMiss
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import AnyModel, ForeignModel, MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease, releases_that_cannot_read


@dataclasses.dataclass(frozen=True)
class Setting:
    """A value, and its source: a flavor key, an image property or an option."""

    value: str
    source: str


@dataclasses.dataclass(frozen=True)
class GuestRequest:
    """A guest's request for encryption.

    ``requesters`` are the flavor keys and image properties that ask for encryption.
    ``conflict`` describes a setting that denies it, or two that name different models;
    ``conflict_remedy`` says what to do. ``misspelt_models`` are misspelt settings that
    were meant to name another model. If ``machine_type`` or ``disk_bus`` is None, the
    driver chooses. ``passthrough`` are the settings that request PCI devices of the
    host, ``mediated`` those that request a vGPU or an accelerator,
    ``secure_boot`` is the one that requires Secure Boot. ``locks_memory`` is true if
    Nova locks the memory of such a guest even without encryption.
    """

    model: MemoryEncryptionModel
    requesters: tuple[str, ...]
    machine_type: Setting | None = None
    firmware_type: str | None = None
    firmware_stateless: bool = False
    conflict: str | None = None
    conflict_remedy: str = AGREE
    misspelt_models: tuple[NearMiss, ...] = ()
    disk_bus: Setting | None = None
    scsi_model: str | None = None
    passthrough: tuple[Setting, ...] = ()
    mediated: tuple[Setting, ...] = ()
    #: Whether nova.conf allows the guest PCI devices of the host.
    allows_pci_devices: bool = False
    secure_boot: Setting | None = None
    viommu: Setting | None = None
    locks_memory: bool = False
    #: How Nova's own driver would start such a guest, such as "in the clear"; None if
    #: as requested.
    on_stock_nova: str | None = None
    #: True if flavor or image requires a trait of hosts with this driver.
    requires_sev_driver: bool = False

    def with_passthrough(self, devices: tuple[Setting, ...]) -> GuestRequest:
        """Return this request with additional host devices."""
        return dataclasses.replace(self, passthrough=self.passthrough + devices)


@dataclasses.dataclass(frozen=True)
class ForeignRequest:
    """A guest's request for encryption with a model of another vendor.

    Nova creates the domain. The fields are those of :class:`GuestRequest`.
    """

    model: ForeignModel
    requesters: tuple[str, ...]
    conflict: str | None = None


class Request(Protocol):
    """A request for encryption, with any model."""

    @property
    def model(self) -> AnyModel: ...

    @property
    def requesters(self) -> tuple[str, ...]: ...


#: The only machine type with which every virtio device can use the IOMMU.
MACHINE_TYPE = "q35"

#: The buses of boot disks; scsi is possible with virtio-scsi only.
BOOT_BUSES = frozenset({"virtio", "sata"})
VIRTIO_SCSI = "virtio-scsi"
#: Virtual IOMMUs that are virtio devices (auto since libvirt 8.3). Nova sets attributes
#: on virtual IOMMUs that libvirt rejects for these.
_VIRTIO_VIOMMUS = frozenset({"virtio", "auto"})
BOOT_REMEDY = "set hw_disk_bus=virtio, sata, or scsi with hw_scsi_model=virtio-scsi"


@dataclasses.dataclass(frozen=True)
class UnmetRequirement:
    """A violation without its requester."""

    requirement: Requirement
    found: str
    remedy: str

    def attributed_to(self, request: Request) -> Violation:
        """Return the violation by ``request``."""
        asked = f"{' and '.join(request.requesters)} asks for {request.model.title}"
        return Violation(
            self.requirement, asked, self.found, self.remedy, request.model
        )


def check_request(
    request: GuestRequest, host: HostCapabilities
) -> tuple[Violation, ...]:
    """Return all violations of a guest on a host, those of the request first."""
    findings = itertools.chain(
        _image_findings(request),
        _host_device_findings(request, host),
        _device_findings(request),
        _host(request, host),
    )
    return tuple(finding.attributed_to(request) for finding in findings)


def check_image_model(
    request: GuestRequest, named: str | None, release: NovaRelease
) -> tuple[Violation, ...]:
    """Return a violation if a later Nova could not read the image's model.

    Nova 27 to 31 does not know the property, and stores any value with the server.
    After an upgrade, nova-compute does not start if it cannot read the value.

    :param named: the image's ``hw_mem_encryption_model``, None if not set.
    :param release: the Nova that runs the guest.
    """
    if named is None or release.models:
        return ()
    later = releases_that_cannot_read(named)
    if not later:
        return ()
    finding = UnmetRequirement(
        Requirement.IMAGE_MODEL,
        f"Nova {' and '.join(map(str, later))} cannot read hw_mem_encryption_model="
        f"{named} of its image",
        f"unset it, and set sev:model={request.model.value} on the flavor",
    )
    return (finding.attributed_to(request),)


def check_vhost_user(
    request: GuestRequest, ports: Sequence[str]
) -> tuple[Violation, ...]:
    """Return a violation if a guest has vhost-user ports, but no shared memory.

    Such a port carries no traffic: the switch, which is another process than QEMU, can
    only access memory that QEMU shares.

    :param ports: the ids of the vhost-user ports of a guest without shared memory.
    """
    if not ports:
        return ()
    finding = UnmetRequirement(
        Requirement.SHARED_MEMORY,
        f"port {ports[0]} is vhost-user, and the guest's memory is not shared",
        "set hw:mem_page_size=large on the flavor, or use another port",
    )
    return (finding.attributed_to(request),)


def check_foreign(request: ForeignRequest, *, supported: bool) -> tuple[Violation, ...]:
    """Return all violations of a guest with a model of another vendor.

    :param supported: whether Nova supports the model on this host.
    """
    findings = []
    if request.conflict is not None:
        findings.append(_disagreement(request.conflict))
    if not supported:
        findings.append(
            UnmetRequirement(
                Requirement.HOST,
                f"Nova finds no {request.model.title} on this host",
                "use a host that has it",
            )
        )
    return tuple(finding.attributed_to(request) for finding in findings)


def check_rescue_image(
    own: ForeignRequest | None, by_rescue: Request | None, title: str
) -> tuple[Violation, ...]:
    """Return a violation if a rescue image changes whether a server is encrypted.

    This is for servers that this driver does not encrypt. Nova creates their rescue
    system with the rescue image's properties: encrypted without a slot if only the
    rescue image asks for encryption, and in the clear if it does not ask for it.

    :param own: the server's request for a model of another vendor; None for a plain
        server.
    :param by_rescue: the request of its flavor and the rescue image.
    :param title: the rescue image's name in messages.
    """
    if own is not None:
        if by_rescue is not None and by_rescue.model is own.model:
            return ()
        finding = UnmetRequirement(
            Requirement.RESCUE_IMAGE,
            f"{title} does not ask for it",
            f"use one with hw_mem_encryption_model={own.model.value}",
        )
        return (finding.attributed_to(own),)
    if by_rescue is None:
        return ()
    finding = UnmetRequirement(
        Requirement.RESCUE_IMAGE,
        "the server has no slot, as its own flavor and image do not ask",
        "use a rescue image that does not ask",
    )
    return (finding.attributed_to(by_rescue),)


def lost_request(model: AnyModel, now: AnyModel | None = None) -> Violation:
    """Return the violation of a server that no longer asks for its encryption.

    :param model: the model that its guest is encrypted with.
    :param now: the weaker model that it asks for; None: it asks for none.
    """
    found = "neither its flavor nor Nova's record of its image asks for it now"
    remedy = "rebuild it from its image, or have an administrator correct the record"
    if now is not None:
        of_amd = isinstance(now, MemoryEncryptionModel)
        is_same_vendor = of_amd and isinstance(model, MemoryEncryptionModel)
        asked = f"the weaker {now.title}" if is_same_vendor else f"{now.title} instead"
        found = (
            f"Nova's record of its image asks for {asked}, as after a refused rebuild "
            f"or nova-manage"
        )
        remedy = f"have an administrator set it back, or rebuild with {now.title}"
    return Violation(
        Requirement.IMAGE_RECORD, f"the guest has {model.title}", found, remedy, model
    )


def _disagreement(conflict: str, remedy: str = AGREE) -> UnmetRequirement:
    return UnmetRequirement(Requirement.AGREEMENT, conflict, remedy)


def check_spelling(request: GuestRequest) -> tuple[Violation, ...]:
    """Return a violation for each misspelt setting that names another model."""
    return tuple(
        UnmetRequirement(
            Requirement.SPELLING,
            miss.found,
            # Short, because two long keys leave little room in a fault.
            f"set {miss.meant_key}={miss.meant_value}, or unset it",
        ).attributed_to(request)
        for miss in request.misspelt_models
    )


def refuse(violations: Sequence[Violation]) -> None:
    """Raise an error if there are violations.

    :raises RequirementsNotMet: there is at least one.
    """
    if violations:
        raise RequirementsNotMet(violations)


def _image_findings(request: GuestRequest) -> Iterator[UnmetRequirement]:
    if request.conflict is not None:
        yield _disagreement(request.conflict, request.conflict_remedy)
    machine = request.machine_type
    # A substring, as in Nova: pc-q35-7.2 is a q35 machine, too.
    if machine is not None and MACHINE_TYPE not in machine.value:
        yield UnmetRequirement(
            Requirement.MACHINE_TYPE,
            f"{machine.source} is {machine.value}",
            f"set hw_machine_type={MACHINE_TYPE} on the image",
        )
    if request.firmware_type != "uefi":
        yield UnmetRequirement(
            Requirement.FIRMWARE_TYPE,
            f"the image has hw_firmware_type {request.firmware_type or 'unset'}",
            "set hw_firmware_type=uefi on an image that boots by UEFI",
        )
    snp = request.model is MemoryEncryptionModel.AMD_SEV_SNP
    if snp and not request.firmware_stateless:
        # The guest firmware is measured at launch, so it cannot store variables.
        yield UnmetRequirement(
            Requirement.FIRMWARE_STATELESS,
            "the image does not have hw_firmware_stateless=true",
            "set it on the image",
        )
    secure_boot = request.secure_boot
    if secure_boot is not None and not request.model.supports_smm:
        yield UnmetRequirement(
            Requirement.SECURE_BOOT,
            f"{secure_boot.source} is {secure_boot.value}, and Secure Boot needs SMM, "
            f"which {request.model.title} does not have",
            "set it to disabled, or ask for AMD SEV",
        )


def _host_device_findings(
    request: GuestRequest, host: HostCapabilities
) -> Iterator[UnmetRequirement]:
    capability = host.get(request.model)
    obstacle = capability.pci_obstacle if capability is not None else ""
    refused = request.passthrough + request.mediated
    if request.allows_pci_devices:
        refused = request.mediated
        for device in request.passthrough if obstacle else ():
            yield UnmetRequirement(
                Requirement.NO_HOST_DEVICE,
                f"{device.source} is {device.value}, and {obstacle}",
                "upgrade QEMU, or remove it",
            )
    for device in refused:
        yield UnmetRequirement(
            Requirement.NO_HOST_DEVICE,
            f"{device.source} is {device.value}, a host device",
            "remove it, because encrypted guests cannot use host devices",
        )


def _device_findings(request: GuestRequest) -> Iterator[UnmetRequirement]:
    viommu = request.viommu
    if viommu is not None and viommu.value in _VIRTIO_VIOMMUS:
        yield UnmetRequirement(
            Requirement.NO_VIOMMU,
            f"{viommu.source} is {viommu.value}, a virtual IOMMU that libvirt rejects",
            "unset it",
        )
    bus = request.disk_bus
    if bus is None or bus.value in BOOT_BUSES:
        return
    if bus.value == "scsi" and request.scsi_model == VIRTIO_SCSI:
        return
    model = f" with hw_scsi_model {request.scsi_model or 'unset'}"
    yield UnmetRequirement(
        Requirement.BOOT_BUS,
        f"{bus.source} is {bus.value}{model if bus.value == 'scsi' else ''}",
        BOOT_REMEDY,
    )


def _host(request: GuestRequest, host: HostCapabilities) -> Iterator[UnmetRequirement]:
    capability = host.get(request.model)
    if capability is not None and not capability.supported:
        yield UnmetRequirement(
            Requirement.HOST,
            str(capability),
            f"{capability.remedy}, or use another host",
        )
