# SPDX-License-Identifier: Apache-2.0

"""The CPU signature that a guest sees: family, model and stepping of its CPU."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from sev_driver.exceptions import DetectionError, printable
from sev_driver.host.processor import Processor

#: EAX of CPUID leaf 1 of QEMU's models, and the newest version of each model that has
#: it. QEMU's builtin_x86_defs up to QEMU 11.1; names are libvirt's as well.
_MODELS: Final = {
    "EPYC": (0x0080_0F12, 5),
    "EPYC-Rome": (0x0083_0F10, 5),
    "EPYC-Milan": (0x00A0_0F11, 4),
    "EPYC-Genoa": (0x00A1_0F10, 3),
    "EPYC-Turin": (0x00B0_0F00, 2),
}
#: QEMU's name of EPYC-v2, which has no versions of its own.
_ALIASES: Final = {"EPYC-IBPB": "EPYC-v2"}
_VERSIONED = re.compile(r"(.+)-v([1-9]\d?)", re.ASCII)

#: The modes of libvirt's ``<cpu>`` in which a guest sees the processor itself. With
#: KVM, QEMU's model ``max`` has the family, model and stepping of the processor, too.
_PASSTHROUGH: Final = frozenset({"host-passthrough", "maximum"})


@dataclasses.dataclass(frozen=True)
class GuestCpu:
    """A guest's CPU: QEMU's name of its model, and its signature.

    The launch digest of a guest with SEV-ES or SEV-SNP depends on the signature.
    """

    model: str
    signature: int

    def __str__(self) -> str:
        return f"{self.model} {self.signature:#x}"


def guest_cpu(
    mode: str | None,
    model: str | None,
    host_model: str | None = None,
    processor: Processor | None = None,
) -> GuestCpu:
    """Return the CPU of a guest.

    :param mode: the attribute of libvirt's ``<cpu>``. libvirt replaces host-model by
        custom when it starts the guest.
    :param model: its ``<model>``, for the mode custom.
    :param host_model: the model that libvirt's domain capabilities name for host-model.
    :param processor: the host's processor, for the other modes.
    :raises DetectionError: the signature is unknown.
    """
    if mode in _PASSTHROUGH:
        return GuestCpu(mode or "", _signature_of_processor(processor))
    name = host_model if mode == "host-model" else model
    if not name:
        raise DetectionError(
            "libvirt names no model for host-model"
            if mode == "host-model"
            else "the domain names no CPU model"
        )
    return GuestCpu(name, signature_of_model(name))


def signature_of_model(name: str) -> int:
    """Return the CPU signature of one of QEMU's CPU models.

    :param name: such as ``EPYC-Milan`` or ``EPYC-v4``.
    :raises DetectionError: sev_driver does not know the model, or not its version.
    """
    match = _VERSIONED.fullmatch(_ALIASES.get(name, name))
    base, version = (match[1], int(match[2])) if match else (name, 1)
    signature, newest = _MODELS.get(base, (0, 0))
    if version > newest:
        raise DetectionError(
            f"sev_driver does not know the CPU signature of {printable(name, 60)}"
        )
    return signature


def signature(family: int, model: int, stepping: int) -> int:
    """Return EAX of CPUID leaf 1 (AMD document 25481, CPUID Fn0000_0001_EAX)."""
    extended = max(family - 0xF, 0)
    return (
        extended << 20
        | model >> 4 << 16
        | min(family, 0xF) << 8
        | (model & 0xF) << 4
        | stepping
    )


def _signature_of_processor(processor: Processor | None) -> int:
    if processor is None or not processor.family or processor.stepping is None:
        raise DetectionError(
            "family, model and stepping of the processor cannot be read"
        )
    return signature(processor.family, processor.model, processor.stepping)
