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

"""What a guest must have to be encrypted, checked all at once."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Iterator, Sequence

from sev_driver.capabilities import HostCapabilities
from sev_driver.exceptions import RequirementsNotMet
from sev_driver.model import MemoryEncryptionModel
from sev_driver.printable import printable


class Fault(enum.Enum):
    """Who can mend a violation, and so whether another host may do better."""

    REQUEST = "request"
    HOST = "host"


class Requirement(enum.Enum):
    """What an encrypted guest needs; the values are labels in the manual."""

    AGREEMENT = "agreement"
    MACHINE_TYPE = "machine-type"
    FIRMWARE_TYPE = "firmware-type"
    FIRMWARE_STATELESS = "firmware-stateless"
    NO_HOST_DEVICE = "no-host-device"
    BOOT_BUS = "boot-bus"
    NO_IDE = "no-ide"
    SLOT = "slot"
    POOL = "pool"
    HOST = "host"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A value, and who set it: a flavor key, an image property, an option."""

    value: str
    source: str


@dataclasses.dataclass(frozen=True)
class GuestRequest:
    """What a guest asks for.

    ``requesters`` name the flavor keys and image properties that ask for
    encryption; ``conflict`` tells in words of one that rules it out at the same
    time, or of two that ask for different generations. An unset
    ``machine_type`` or ``disk_bus`` leaves the choice to the driver.
    ``passthrough`` holds each request for a device of the host.
    """

    model: MemoryEncryptionModel
    requesters: tuple[str, ...]
    machine_type: Setting | None = None
    firmware_type: str | None = None
    firmware_stateless: bool = False
    conflict: str | None = None
    disk_bus: Setting | None = None
    scsi_model: str | None = None
    passthrough: tuple[Setting, ...] = ()

    def with_passthrough(self, devices: tuple[Setting, ...]) -> GuestRequest:
        """Return this request with more devices of the host."""
        return dataclasses.replace(self, passthrough=self.passthrough + devices)


@dataclasses.dataclass(frozen=True)
class Violation:
    """One requirement that is not met: who asked, what is so, what to do.

    Kept short: Nova shows a user the first 255 characters of a fault.
    """

    requirement: Requirement
    requester: str
    found: str
    remedy: str
    #: The generation that was asked for.
    model: MemoryEncryptionModel

    @property
    def fault(self) -> Fault:
        # The next host may offer a slot of the right pool.
        host = self.requirement in (Requirement.HOST, Requirement.POOL)
        return Fault.HOST if host else Fault.REQUEST

    def __str__(self) -> str:
        # What is found, a user may have written: an image's property.
        found = printable(self.found, 300)
        return f"{printable(self.requester)}, but {found}: {self.remedy}."


#: The only machine type whose PCIe bus lets every virtio device use the IOMMU.
MACHINE_TYPE = "q35"

#: Buses from which an encrypted guest can boot; scsi by virtio-scsi alone.
BOOT_BUSES = frozenset({"virtio", "sata"})
VIRTIO_SCSI = "virtio-scsi"
BOOT_REMEDY = "set hw_disk_bus=virtio, sata, or scsi with hw_scsi_model=virtio-scsi"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A violation before it is known who asked."""

    requirement: Requirement
    found: str
    remedy: str

    def by(self, request: GuestRequest) -> Violation:
        asked = f"{' and '.join(request.requesters)} asks for {request.model.title}"
        return Violation(
            self.requirement, asked, self.found, self.remedy, request.model
        )


def check(request: GuestRequest, host: HostCapabilities) -> tuple[Violation, ...]:
    """Return every violation, the guest's own before the host's."""
    findings = itertools.chain(
        _image_findings(request), _device_findings(request), _host(request, host)
    )
    return tuple(finding.by(request) for finding in findings)


def refuse(violations: Sequence[Violation]) -> None:
    """:raises RequirementsNotMet: there are any."""
    if violations:
        raise RequirementsNotMet(violations)


def _image_findings(request: GuestRequest) -> Iterator[Finding]:
    if request.conflict is not None:
        yield Finding(
            Requirement.AGREEMENT,
            request.conflict,
            "make the two agree",
        )
    machine = request.machine_type
    # A substring, as in stock Nova: pc-q35-7.2 is q35, too.
    if machine is not None and MACHINE_TYPE not in machine.value:
        yield Finding(
            Requirement.MACHINE_TYPE,
            f"{machine.source} is {machine.value}",
            f"set hw_machine_type={MACHINE_TYPE} on the image",
        )
    if request.firmware_type != "uefi":
        yield Finding(
            Requirement.FIRMWARE_TYPE,
            f"the image has hw_firmware_type {request.firmware_type or 'unset'}",
            "set hw_firmware_type=uefi on an image that boots by UEFI",
        )
    snp = request.model is MemoryEncryptionModel.AMD_SEV_SNP
    if snp and not request.firmware_stateless:
        # Its firmware is measured at launch: it can have no variables of its own.
        yield Finding(
            Requirement.FIRMWARE_STATELESS,
            "the image does not have hw_firmware_stateless=true",
            "set it on the image",
        )


def _device_findings(request: GuestRequest) -> Iterator[Finding]:
    for device in request.passthrough:
        yield Finding(
            Requirement.NO_HOST_DEVICE,
            f"{device.source} is {device.value}, a device of the host",
            "an encrypted guest can have none; ask for none",
        )
    bus = request.disk_bus
    if bus is None or bus.value in BOOT_BUSES:
        return
    if bus.value == "scsi" and request.scsi_model == VIRTIO_SCSI:
        return
    model = f" with hw_scsi_model {request.scsi_model or 'unset'}"
    yield Finding(
        Requirement.BOOT_BUS,
        f"{bus.source} is {bus.value}{model if bus.value == 'scsi' else ''}",
        BOOT_REMEDY,
    )


def _host(request: GuestRequest, host: HostCapabilities) -> Iterator[Finding]:
    capability = host.get(request.model)
    if capability is not None and not capability.supported:
        yield Finding(
            Requirement.HOST,
            str(capability),
            f"{capability.remedy}, or use another host",
        )
