# SPDX-License-Identifier: Apache-2.0

"""CPUID leaf 0x8000001F, which describes the processor's memory encryption."""

from __future__ import annotations

import dataclasses
import re
import struct
from typing import Final

from sev_driver.exceptions import MalformedCpuid

#: "Encrypted Memory Capabilities" in AMD's manual (APM volume 3, appendix E).
LEAF: Final = 0x8000001F

#: The leaf whose EAX is the highest leaf of the range that the processor has.
HIGHEST_LEAF: Final = 0x80000000

_RECORD = struct.Struct("<4I")

#: A line of ``cpuid --raw``: the leaf, the subleaf, four registers.
_LINE = re.compile(
    r"^[ \t]*0x8000001f\b[^\n]*?"
    r"eax=0x([0-9a-f]{1,8})[ \t]+ebx=0x([0-9a-f]{1,8})[ \t]+"
    r"ecx=0x([0-9a-f]{1,8})[ \t]+edx=0x([0-9a-f]{1,8})[ \t\r]*$",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)

#: The lines that ``cpuid`` without ``--raw`` prints of the leaf.
_DECODED = {
    "sev": re.compile(r"^[ \t]*SEV: [^\n=]{1,60}= (true|false)", re.M | re.A),
    "sev_es": re.compile(r"^[ \t]*SEV-ES: [^\n=]{1,60}= (true|false)", re.M | re.A),
    "sev_snp": re.compile(r"^[ \t]*SEV-SNP: [^\n=]{1,60}= (true|false)", re.M | re.A),
    "ecx": re.compile(
        r"^[ \t]*number of SEV-enabled guests supported +"
        r"= 0x[0-9a-f]{1,8} \((\d{1,10})\)",
        re.M | re.A,
    ),
    "edx": re.compile(
        r"^[ \t]*minimum SEV guest ASID +"
        r"= 0x[0-9a-f]{1,8} \((\d{1,10})\)",
        re.M | re.A,
    ),
}


@dataclasses.dataclass(frozen=True)
class MemoryEncryptionLeaf:
    """The leaf's registers.

    All are zero in most virtual machines, and on a processor without the leaf. Nothing
    is concluded from that: the hypervisor may offer encryption without the leaf.
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
        """The lowest ASID of plain SEV; the ASIDs below are for SEV-ES and SEV-SNP."""
        return self.edx

    @property
    def sev_slots(self) -> int | None:
        """The number of ASIDs of plain SEV, None if unknown.

        It is 0 or less if the BIOS setup gives all ASIDs to SEV-ES.
        """
        return self.ecx - self.edx + 1 if self._has_counts else None

    @property
    def shared_slots(self) -> int | None:
        """The number of ASIDs that SEV-ES and SEV-SNP share, None if unknown."""
        return self.edx - 1 if self._has_counts else None

    @property
    def _has_counts(self) -> bool:
        return self.sev and self.ecx > 0 and self.edx > 0

    @classmethod
    def from_record(cls, record: bytes) -> MemoryEncryptionLeaf:
        """Parse the 16 bytes that ``/dev/cpu/N/cpuid`` returns for one leaf.

        :raises MalformedCpuid: ``record`` does not have 16 bytes.
        """
        if len(record) != _RECORD.size:
            raise MalformedCpuid(f"a CPUID leaf is 16 bytes, these are {len(record)}")
        return cls(*_RECORD.unpack(record))

    @classmethod
    def from_file(cls, data: bytes) -> MemoryEncryptionLeaf:
        """Parse a saved leaf: 16 bytes, or the output of ``cpuid -1``, also with -r.

        :raises MalformedCpuid: ``data`` is neither of them.
        """
        if len(data) == _RECORD.size:
            return cls.from_record(data)
        text = data.decode("ascii", "replace")
        match = _LINE.search(text)
        if match is None:
            decoded = cls._from_decoded(text)
            if decoded is not None:
                return decoded
            raise MalformedCpuid(
                "CPUID: neither the 16 bytes of leaf 0x8000001F nor a line "
                "'0x8000001f 0x00: eax=0x… ebx=0x… ecx=0x… edx=0x…' of cpuid -1 -r"
            )
        return cls(*(int(register, 16) for register in match.groups()))

    @classmethod
    def _from_decoded(cls, text: str) -> MemoryEncryptionLeaf | None:
        """Parse the output of ``cpuid -1`` without -r; return None for other text."""
        found = {name: line.search(text) for name, line in _DECODED.items()}
        ecx, edx = found["ecx"], found["edx"]
        if ecx is None or edx is None:
            return None
        if int(ecx[1]) >= 1 << 32 or int(edx[1]) >= 1 << 32:
            return None
        bits = {"sev": 1, "sev_es": 3, "sev_snp": 4}
        eax = sum(
            1 << bit
            for name, bit in bits.items()
            if (m := found[name]) and m[1] == "true"
        )
        return cls(eax, 0, int(ecx[1]), int(edx[1]))


def has_leaf(highest: bytes) -> bool:
    """Return whether the processor has the leaf.

    An Intel processor without the leaf returns the data of another one.

    :param highest: the 16 bytes of :data:`HIGHEST_LEAF`.
    """
    if len(highest) != _RECORD.size:
        return False
    eax: int = _RECORD.unpack(highest)[0]
    return eax >= LEAF
