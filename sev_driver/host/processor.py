# SPDX-License-Identifier: Apache-2.0

"""The processor in /proc/cpuinfo, and its EPYC generation."""

from __future__ import annotations

import dataclasses
import re
from typing import Final, NamedTuple

from sev_driver.exceptions import printable

#: Vendors of processors with SEV, as /proc/cpuinfo names them.
_AMD = frozenset({"AuthenticAMD", "HygonGenuine"})
_HYGON = "HygonGenuine"
_VENDORS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel", "HygonGenuine": "Hygon"}

#: AMD's processors without SEV firmware. Some of them have the flags of SEV, and ASIDs.
_CONSUMER = re.compile(
    r"\b(Ryzen|Threadripper|Athlon|Phenom|FX|Sempron|A\d{1,2})\b", re.ASCII
)


@dataclasses.dataclass(frozen=True)
class Processor:
    """The first processor of /proc/cpuinfo; family and model are 0 if missing.

    ``stepping`` is None if it is missing.
    """

    vendor: str
    family: int
    model: int
    name: str
    flags: frozenset[str]
    stepping: int | None = None

    @property
    def is_amd(self) -> bool:
        """True if the vendor is AMD or Hygon."""
        return self.vendor in _AMD

    @property
    def vendor_title(self) -> str:
        """The vendor's usual name, which libvirt uses as well."""
        return _VENDORS.get(self.vendor, printable(self.vendor, 40))

    @property
    def is_hygon(self) -> bool:
        return self.vendor == _HYGON

    @property
    def is_virtual(self) -> bool:
        """True in a virtual machine."""
        return "hypervisor" in self.flags

    @property
    def is_consumer(self) -> bool:
        """True if the name is that of a processor without SEV firmware.

        False if the name says nothing, for example that of an engineering sample.
        """
        return self.is_amd and bool(_CONSUMER.search(self.name))

    @property
    def title(self) -> str:
        """The name in printable form."""
        return printable(self.name, 60) or self.vendor

    @property
    def generation(self) -> Generation | None:
        """The EPYC generation, None if unknown."""
        if self.is_consumer:
            return None
        for known in GENERATIONS:
            if self.family == known.family and known.first <= self.model <= known.last:
                return known
        return None

    @classmethod
    def parse(cls, cpuinfo: str) -> Processor:
        """Parse the first processor in /proc/cpuinfo."""
        fields: dict[str, str] = {}
        for line in cpuinfo.splitlines():
            name, colon, value = line.partition(":")
            if colon:
                fields.setdefault(name.strip(), value.strip())
        return cls(
            fields.get("vendor_id", ""),
            _number(fields.get("cpu family")),
            _number(fields.get("model")),
            fields.get("model name", ""),
            frozenset(fields.get("flags", "").split()),
            _number(fields["stepping"]) if "stepping" in fields else None,
        )


@dataclasses.dataclass(frozen=True)
class Topology:
    """A host's processors; each field is None if unknown.

    ``has_smt`` is true if simultaneous multithreading is on. ``sockets`` is the number
    of processors.
    """

    has_smt: bool | None = None
    sockets: int | None = None


UNKNOWN_TOPOLOGY: Final = Topology()


def _number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,6}", text, re.ASCII) else 0


class Generation(NamedTuple):
    """A generation of EPYC: its family, and its first and last model in AMD's manuals.

    ``kernel`` is approximately the first kernel whose driver ccp supports its secure
    processor.
    """

    family: int
    first: int
    last: int
    name: str
    snp: bool
    kernel: tuple[int, int, int]


GENERATIONS = (
    Generation(0x17, 0x00, 0x0F, "Naples, EPYC 7001", False, (4, 16, 0)),
    Generation(0x17, 0x30, 0x3F, "Rome, EPYC 7002", False, (5, 2, 0)),
    Generation(0x18, 0x00, 0xFF, "Hygon Dhyana", False, (4, 20, 0)),
    Generation(0x19, 0x00, 0x0F, "Milan, EPYC 7003", True, (5, 2, 0)),
    Generation(0x19, 0x10, 0x1F, "Genoa, EPYC 9004", True, (5, 18, 0)),
    Generation(
        0x19, 0xA0, 0xAF, "Bergamo or Siena, EPYC 97x4 or 8004", True, (5, 18, 0)
    ),
    Generation(0x1A, 0x00, 0x0F, "Turin, EPYC 9005", True, (6, 9, 0)),
    Generation(0x1A, 0x10, 0x1F, "Turin Dense, EPYC 9005", True, (6, 9, 0)),
)
