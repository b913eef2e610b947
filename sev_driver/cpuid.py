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
"""CPUID 0x8000001F: what the processor itself says of memory encryption."""

from __future__ import annotations

import dataclasses
import re
import struct
from typing import Final

from sev_driver.exceptions import MalformedCpuid

#: Encrypted memory capabilities, in AMD's manual (APM volume 3, appendix E).
LEAF: Final = 0x8000001F

#: Its EAX is the highest leaf of this range that the processor has.
HIGHEST_LEAF: Final = 0x80000000

_RECORD = struct.Struct("<4I")

#: A line of ``cpuid --raw``: the leaf, the subleaf, four registers.
_LINE = re.compile(
    r"^[ \t]*0x8000001f\b[^\n]*?"
    r"eax=0x([0-9a-f]{1,8})[ \t]+ebx=0x([0-9a-f]{1,8})[ \t]+"
    r"ecx=0x([0-9a-f]{1,8})[ \t]+edx=0x([0-9a-f]{1,8})[ \t\r]*$",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class MemoryEncryptionLeaf:
    """The leaf's registers.

    A processor without the leaf, and most virtual machines, show zeros: that says
    nothing about what a hypervisor above may offer.
    """

    eax: int
    ebx: int
    ecx: int
    edx: int

    @property
    def sev(self) -> bool:
        return bool(self.eax & 1 << 1)

    @property
    def sev_es(self) -> bool:
        return bool(self.eax & 1 << 3)

    @property
    def sev_snp(self) -> bool:
        return bool(self.eax & 1 << 4)

    @property
    def max_asid(self) -> int:
        return self.ecx

    @property
    def min_sev_asid(self) -> int:
        """The lowest ASID of plain SEV; those below it are SEV-ES's and SNP's."""
        return self.edx

    @property
    def sev_slots(self) -> int | None:
        """ASIDs of plain SEV; none or less where the set-up gave them all away."""
        return self.ecx - self.edx + 1 if self._tells else None

    @property
    def shared_slots(self) -> int | None:
        """ASIDs that SEV-ES and SEV-SNP share."""
        return self.edx - 1 if self._tells else None

    @property
    def _tells(self) -> bool:
        return self.sev and self.ecx > 0 and self.edx > 0

    @classmethod
    def from_record(cls, record: bytes) -> MemoryEncryptionLeaf:
        """Read what ``/dev/cpu/N/cpuid`` gives for one leaf.

        :raises MalformedCpuid: not 16 bytes.
        """
        if len(record) != _RECORD.size:
            raise MalformedCpuid(f"a CPUID leaf is 16 bytes, these are {len(record)}")
        return cls(*_RECORD.unpack(record))

    @classmethod
    def from_file(cls, data: bytes) -> MemoryEncryptionLeaf:
        """Read a saved leaf: 16 bytes, or the text of ``cpuid -1 -r``.

        :raises MalformedCpuid: neither of them.
        """
        if len(data) == _RECORD.size:
            return cls.from_record(data)
        match = _LINE.search(data.decode("ascii", "replace"))
        if match is None:
            raise MalformedCpuid(
                "CPUID: neither the 16 bytes of leaf 0x8000001F nor a line "
                "'0x8000001f 0x00: eax=0x… ebx=0x… ecx=0x… edx=0x…' of cpuid -1 -r"
            )
        return cls(*(int(register, 16) for register in match.groups()))


def has_leaf(highest: bytes) -> bool:
    """Whether the processor has the leaf, by the record of :data:`HIGHEST_LEAF`.

    Without this an Intel processor's answer would be that of another leaf.
    """
    if len(highest) != _RECORD.size:
        return False
    eax: int = _RECORD.unpack(highest)[0]
    return eax >= LEAF
