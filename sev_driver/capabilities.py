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

"""From what libvirt and the kernel say to what this host can encrypt."""

import dataclasses
import enum
from collections.abc import Iterator, Mapping

from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.model import MemoryEncryptionModel

#: What oslo.utils takes for true, and so stock Nova in a kernel parameter.
_TRUE = frozenset({"y", "yes", "1", "true", "on", "t"})

_VIRT_TYPES = ("kvm", "qemu")


class Support(enum.Enum):
    """UNKNOWN is a fact that could not be read; it is not the same as NO."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Obstacle(enum.Enum):
    """Why a model is not offered; the values are labels in the manual."""

    VIRT_TYPE = "virt-type"
    ARCH = "arch"
    PARAMETER_UNREADABLE = "parameter-unreadable"
    PARAMETER_MISSING = "parameter-missing"
    PARAMETER_OFF = "parameter-off"
    CAPABILITIES_UNREADABLE = "capabilities-unreadable"
    LIBVIRT_SAYS_NO = "libvirt-says-no"
    NO_SLOTS = "no-slots"

    @property
    def support(self) -> Support:
        unreadable = (self.PARAMETER_UNREADABLE, self.CAPABILITIES_UNREADABLE)
        return Support.UNKNOWN if self in unreadable else Support.NO


@dataclasses.dataclass(frozen=True)
class KvmParameter:
    """One file below /sys/module/kvm_amd/parameters.

    ``text`` is its content, None where the file does not exist; ``error`` says
    why an existing file could not be read.
    """

    path: str
    text: str | None = None
    error: str | None = None

    @property
    def enabled(self) -> bool:
        return self.text is not None and self.text.strip().lower() in _TRUE


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """All that was read of a host; ``domain_error`` stands in for ``domain``."""

    virt_type: str
    arch: str
    sev_parameter: KvmParameter
    domain: DomainCapabilities | None = None
    domain_error: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelCapability:
    """What is concluded for one model, and from what.

    Where there is an ``obstacle``, ``reason`` tells it in words and ``remedy``
    what to do about it. ``slots`` is the number of guests that can run at once,
    None where nothing tells; ``slots_source`` names where it comes from.
    """

    model: MemoryEncryptionModel
    obstacle: Obstacle | None = None
    reason: str = ""
    remedy: str = ""
    slots: int | None = None
    slots_source: str = ""

    @property
    def support(self) -> Support:
        return Support.YES if self.obstacle is None else self.obstacle.support

    @property
    def supported(self) -> bool:
        return self.support is Support.YES

    def __str__(self) -> str:
        if not self.supported:
            verdict = "is off" if self.support is Support.NO else "cannot be determined"
            return f"{self.model.title} {verdict} on this host: {self.reason}"
        count = "an unknown number of" if self.slots is None else self.slots
        return f"{self.model.title} is supported: {count} slots ({self.slots_source})"


@dataclasses.dataclass(frozen=True)
class HostCapabilities(Mapping[MemoryEncryptionModel, ModelCapability]):
    """What is concluded for each model; look it up by the model.

    ``shared_slots`` is how many guests of SEV-ES and SEV-SNP together can run at
    once, None where nothing tells.
    """

    capabilities: tuple[ModelCapability, ...]
    shared_slots: int | None = None

    def __getitem__(self, model: MemoryEncryptionModel) -> ModelCapability:
        for capability in self.capabilities:
            if capability.model is model:
                return capability
        raise KeyError(model)

    def __iter__(self) -> Iterator[MemoryEncryptionModel]:
        return (capability.model for capability in self.capabilities)

    def __len__(self) -> int:
        return len(self.capabilities)


def conclude(facts: HostFacts) -> HostCapabilities:
    """Return what the host offers, for each model that is judged here."""
    return HostCapabilities((_conclude_sev(facts),))


def _conclude_sev(facts: HostFacts) -> ModelCapability:
    hindrance = _hindrance(facts)
    if hindrance is not None:
        return ModelCapability(MemoryEncryptionModel.AMD_SEV, *hindrance)
    slots = None if facts.domain is None else facts.domain.max_guests
    return ModelCapability(
        MemoryEncryptionModel.AMD_SEV,
        slots=slots,
        slots_source="libvirt older than 8.0 gives no number"
        if slots is None
        else "maxGuests in libvirt's domain capabilities",
    )


def _hindrance(facts: HostFacts) -> tuple[Obstacle, str, str] | None:
    """Return the first obstacle, what is so, and what to do; in order of cause."""
    if facts.virt_type not in _VIRT_TYPES:
        found = f"[libvirt] virt_type is {facts.virt_type}"
        return Obstacle.VIRT_TYPE, found, "set it to kvm or qemu"
    if facts.arch != "x86_64":
        return Obstacle.ARCH, f"the processor is {facts.arch}", "use an AMD EPYC"
    return _kernel_hindrance(facts.sev_parameter) or _libvirt_hindrance(facts)


def _kernel_hindrance(parameter: KvmParameter) -> tuple[Obstacle, str, str] | None:
    path = parameter.path
    if parameter.error is not None:
        found = f"{path} cannot be read ({parameter.error})"
        return Obstacle.PARAMETER_UNREADABLE, found, "let nova-compute read it"
    if parameter.text is None:
        remedy = "load kvm_amd, of a kernel of 4.16 or later"
        return Obstacle.PARAMETER_MISSING, f"{path} does not exist", remedy
    if not parameter.enabled:
        found = f"{path} is {parameter.text.strip()[:40] or 'empty'}"
        remedy = "enable SEV in the firmware set-up and load kvm_amd with sev=1"
        return Obstacle.PARAMETER_OFF, found, remedy
    return None


def _libvirt_hindrance(facts: HostFacts) -> tuple[Obstacle, str, str] | None:
    if facts.domain is None:
        found = f"libvirt's domain capabilities cannot be read: {facts.domain_error}"
        return Obstacle.CAPABILITIES_UNREADABLE, found, "see libvirtd's log"
    if not facts.domain.sev:
        found = "libvirt reports sev supported='no' though the kernel has it on"
        remedy = "see that QEMU can open /dev/sev, then restart libvirtd"
        return Obstacle.LIBVIRT_SAYS_NO, found, remedy
    slots = facts.domain.max_guests
    if slots is not None and slots <= 0:
        # libvirt subtracts the bounds of CPUID 0x8000001F; a firmware set-up
        # that gives every ASID to SEV-ES leaves none, or wraps below zero.
        found = f"libvirt counts no slot for it (maxGuests={slots})"
        remedy = "lower the number of SEV-ES ASIDs in the firmware set-up"
        return Obstacle.NO_SLOTS, found, remedy
    return None
