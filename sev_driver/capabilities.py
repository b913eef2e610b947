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

"""What this host can encrypt: a verdict for each model, and its reason."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sev_driver.model import MemoryEncryptionModel


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
    DEVICE_MISSING = "device-missing"
    CAPABILITIES_UNREADABLE = "capabilities-unreadable"
    LIBVIRT_SAYS_NO = "libvirt-says-no"
    BESIDE_SNP = "beside-snp"
    VERSION_TOO_OLD = "version-too-old"
    TYPE_MISSING = "type-missing"
    SLOTS_UNREADABLE = "slots-unreadable"
    NO_SLOTS = "no-slots"
    KVM_SAYS_NO = "kvm-says-no"
    NO_FIRMWARE = "no-firmware"

    @property
    def support(self) -> Support:
        unreadable = (
            self.PARAMETER_UNREADABLE,
            self.CAPABILITIES_UNREADABLE,
            self.SLOTS_UNREADABLE,
        )
        return Support.UNKNOWN if self in unreadable else Support.NO


class Hindrance(NamedTuple):
    """An obstacle, what is so, and what to do about it."""

    obstacle: Obstacle
    reason: str
    remedy: str


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
    once, None where nothing tells. Mostly any of them can be of either kind; where
    the kernel has divided them, for its ciphertext hiding, the two models' ``slots``
    add up to it.
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
