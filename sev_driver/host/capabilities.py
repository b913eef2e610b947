# SPDX-License-Identifier: Apache-2.0

"""The models that a host supports: yes, no or unknown for each, and the reason."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sev_driver.model import MemoryEncryptionModel


class Support(enum.Enum):
    """Whether a host supports a model; UNKNOWN if a fact could not be read."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class ObstacleKind(enum.Enum):
    """Why a model is not offered; the values are labels in the manual."""

    VIRT_TYPE = "virt-type"
    ARCH = "arch"
    VIRTUAL_MACHINE = "virtual-machine"
    NOT_EPYC = "not-epyc"
    PROCESSOR_WITHOUT_SNP = "processor-without-snp"
    SME_OFF = "sme-off"
    SECURE_PROCESSOR_FAILED = "secure-processor-failed"
    SEV_FIRMWARE_TOO_OLD = "sev-firmware-too-old"
    IOMMU_MODE = "iommu-mode"
    IOMMU_OFF = "iommu-off"
    SNP_OFF = "snp-off"
    KERNEL_WITHOUT_SEV = "kernel-without-sev"
    SWITCHED_OFF = "switched-off"
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
        """UNKNOWN if a fact could not be read, else NO."""
        unreadable = (
            self.PARAMETER_UNREADABLE,
            self.CAPABILITIES_UNREADABLE,
            self.SLOTS_UNREADABLE,
        )
        return Support.UNKNOWN if self in unreadable else Support.NO


class Obstacle(NamedTuple):
    """Why a host does not support a model, what was found, and what to do about it."""

    kind: ObstacleKind
    reason: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class ModelCapability:
    """Whether a host supports one model.

    If there is an ``obstacle``, ``reason`` describes it and ``remedy`` says what to do
    about it. ``slots`` is the number of guests that can run at once, None if unknown;
    ``slots_source`` names the source of that number. ``warning`` says why a guest may
    not start although the model is supported, and what to do.
    ``pci_obstacle`` says why QEMU gives guests of the model no PCI devices of the host;
    it is empty if nothing is known against it.
    """

    model: MemoryEncryptionModel
    obstacle: ObstacleKind | None = None
    reason: str = ""
    remedy: str = ""
    slots: int | None = None
    slots_source: str = ""
    warning: str = ""
    pci_obstacle: str = ""

    @property
    def support(self) -> Support:
        return Support.YES if self.obstacle is None else self.obstacle.support

    @property
    def supported(self) -> bool:
        return self.support is Support.YES

    def __str__(self) -> str:
        if not self.supported:
            verdict = (
                "is not available"
                if self.support is Support.NO
                else "cannot be determined"
            )
            return f"{self.model.title} {verdict} on this host: {self.reason}"
        count = "an unknown number of" if self.slots is None else self.slots
        return f"{self.model.title} is supported: {count} slots ({self.slots_source})"


@dataclasses.dataclass(frozen=True)
class HostCapabilities(Mapping[MemoryEncryptionModel, ModelCapability]):
    """The capabilities of a host, by model.

    ``shared_slots`` is the number of SEV-ES and SEV-SNP guests together that can run
    at once, None if unknown. Usually each can be of either model. If the kernel divides
    the slots for ciphertext hiding, the ``slots`` of the two models add up to it.
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
