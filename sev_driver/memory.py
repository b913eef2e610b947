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

"""How much memory encrypted guests pin beyond their RAM, and what to reserve."""

from __future__ import annotations

import dataclasses

#: Stein's nova-spec "amd-sev-libvirt-support", KiB a guest: UEFI ROM, flash for
#: its variables, pc.rom, isa-bios and ACPI tables.
_SPEC_REGIONS_KIB = 4096 + 4096 + 128 + 128 + 2384
#: The same spec: at least this much padding, then up to a multiple of 16 MiB.
_SPEC_PADDING_KIB = 256
_SPEC_MULTIPLE_MIB = 16

#: Video RAM of the models that Nova gives a guest by default.
VIDEO_RAM_MIB = 16

#: libvirt's advice for a hard_limit: the guest's RAM and this much.
LIBVIRT_MIB = 256


def spec_overhead_mib(video_ram_mib: int = VIDEO_RAM_MIB) -> int:
    """Return MiB beyond its RAM that one guest pins, by the spec's formula."""
    kib = _SPEC_REGIONS_KIB + _SPEC_PADDING_KIB
    multiples = -(-kib // (_SPEC_MULTIPLE_MIB * 1024))
    return multiples * _SPEC_MULTIPLE_MIB + video_ram_mib


@dataclasses.dataclass(frozen=True)
class HostMemory:
    """MiB of the host, and what nova.conf says of it.

    ``ratio`` is [DEFAULT] ram_allocation_ratio, None where it is unset.
    """

    total_mib: int
    reserved_mib: int
    ratio: float | None


@dataclasses.dataclass(frozen=True)
class Advice:
    """What to reserve for ``guests`` guests, in MiB: at least, and with ease."""

    guests: int
    at_least_mib: int
    with_ease_mib: int


def advise(guests: int) -> Advice:
    return Advice(guests, guests * spec_overhead_mib(), guests * LIBVIRT_MIB)


def guests_that_fit(
    total_mib: int,
    own_need_mib: int,
    guest_mib: int,
    slots: int,
    beyond_mib: int = LIBVIRT_MIB,
) -> int:
    """Return how many encrypted guests of a size run at the same time on a host.

    Each takes a slot, and pins ``guest_mib`` and ``beyond_mib`` of what the host
    has beyond its own need. All sizes are MiB.
    """
    memory = max(total_mib - own_need_mib, 0) // (guest_mib + beyond_mib)
    return min(slots, memory)
