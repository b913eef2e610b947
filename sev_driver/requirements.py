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

import dataclasses
import enum

from sev_driver.capabilities import HostCapabilities
from sev_driver.model import MemoryEncryptionModel


class Fault(enum.Enum):
    """Who can mend a violation, and so whether another host may do better."""

    REQUEST = "request"
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
    encryption; ``conflict`` is one that rules it out at the same time. An
    unset ``machine_type`` leaves the choice to the driver.
    """

    model: MemoryEncryptionModel
    requesters: tuple[str, ...]
    machine_type: Setting | None = None
    firmware_type: str | None = None
    conflict: str | None = None


@dataclasses.dataclass(frozen=True)
class Violation:
    """One requirement that is not met: who asked, what is so, what to do.

    Kept short: Nova shows a user the first 255 characters of a fault.
    """

    fault: Fault
    requester: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.requester}, but {self.found}: {self.remedy}."


#: The only machine type whose PCIe bus lets every virtio device use the IOMMU.
MACHINE_TYPE = "q35"


def check(request: GuestRequest, host: HostCapabilities) -> tuple[Violation, ...]:
    """Return every violation, the guest's own before the host's."""
    asked = f"{' and '.join(request.requesters)} asks for {request.model.title}"
    violations = []

    def violated(fault: Fault, found: str, remedy: str) -> None:
        violations.append(Violation(fault, asked, found, remedy))

    if request.conflict is not None:
        violated(Fault.REQUEST, f"{request.conflict} denies it", "make the two agree")
    machine = request.machine_type
    # A substring, as in stock Nova: pc-q35-7.2 is q35, too.
    if machine is not None and MACHINE_TYPE not in machine.value:
        violated(
            Fault.REQUEST,
            f"{machine.source} is {machine.value}",
            f"set hw_machine_type={MACHINE_TYPE} on the image",
        )
    if request.firmware_type != "uefi":
        violated(
            Fault.REQUEST,
            f"the image has hw_firmware_type {request.firmware_type or 'unset'}",
            "set hw_firmware_type=uefi on an image that boots by UEFI",
        )
    capability = host.get(request.model)
    if capability is not None and not capability.supported:
        violated(
            Fault.HOST,
            str(capability).rstrip("."),
            "mend that, or start the guest on another host",
        )
    return tuple(violations)
