# SPDX-License-Identifier: Apache-2.0

"""The memory that encrypted guests pin beyond their RAM, and what to reserve."""

from __future__ import annotations

import dataclasses

#: KiB for each guest in nova-spec "amd-sev-libvirt-support" (Stein): UEFI ROM, flash
#: for its variables, pc.rom, isa-bios and ACPI tables.
_SPEC_REGIONS_KIB = 4096 + 4096 + 128 + 128 + 2384
#: In the same spec: the minimum of padding, up to the next multiple of 16 MiB.
_SPEC_PADDING_KIB = 256
_SPEC_MULTIPLE_MIB = 16

#: Video RAM of the models that Nova gives a guest by default.
VIDEO_RAM_MIB = 16

#: libvirt's documentation advises a hard_limit of the guest's RAM and these MiB.
LIBVIRT_MIB = 256


def spec_overhead_mib(video_ram_mib: int = VIDEO_RAM_MIB) -> int:
    """Return the MiB that one guest pins in addition to its RAM, by the spec."""
    kib = _SPEC_REGIONS_KIB + _SPEC_PADDING_KIB
    multiples = -(-kib // (_SPEC_MULTIPLE_MIB * 1024))
    return multiples * _SPEC_MULTIPLE_MIB + video_ram_mib


@dataclasses.dataclass(frozen=True)
class HostMemory:
    """The host's RAM and reserved memory in MiB, and its ram_allocation_ratio.

    ``ratio`` is None if [DEFAULT] ram_allocation_ratio is not set.
    """

    total_mib: int
    reserved_mib: int
    ratio: float | None


@dataclasses.dataclass(frozen=True)
class Advice:
    """The MiB to reserve for ``guests`` guests."""

    guests: int
    minimum_mib: int
    recommended_mib: int


def advise(guests: int) -> Advice:
    """Return the MiB to reserve: the minimum by the spec, and by libvirt's advice."""
    return Advice(guests, guests * spec_overhead_mib(), guests * LIBVIRT_MIB)


def guests_that_fit(
    total_mib: int,
    own_need_mib: int,
    guest_mib: int,
    slots: int,
    beyond_mib: int = LIBVIRT_MIB,
) -> int:
    """Return how many encrypted guests of one size a host can run at once.

    Each guest takes a slot and pins its RAM and some more. All sizes are in MiB.

    :param own_need_mib: the memory that the host needs itself.
    :param guest_mib: the RAM of a guest.
    :param beyond_mib: the memory that a guest pins in addition.
    """
    memory = max(total_mib - own_need_mib, 0) // (guest_mib + beyond_mib)
    return min(slots, memory)
