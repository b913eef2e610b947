# SPDX-License-Identifier: Apache-2.0
"""How much was done in a soak."""

from __future__ import annotations

import collections
import dataclasses

from soak.cloud import TOTALS
from soak.tables import Look


@dataclasses.dataclass
class Counts:
    """Since its start."""

    creates: int = 0
    refused: int = 0
    deletes: int = 0
    #: Stops, starts and reboots.
    other: int = 0
    strangers: int = 0
    #: Creates with nothing else in flight, of what was free or was not.
    probes: int = 0
    settles: int = 0
    #: Settles after which somebody took longer to agree.
    late: int = 0
    #: Slots in use at once, by generation.
    most: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    #: How many there are.
    slots: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )

    def settled(self, look: Look, late: bool) -> None:
        self.settles += 1
        self.late += late
        for kind in TOTALS:
            providers = [host.providers[kind] for host in look.hosts.values()]
            self.slots[kind] = sum(provider.total for provider in providers)
            used = sum(provider.used + provider.reserved for provider in providers)
            self.most[kind] = max(self.most[kind], used)

    def __str__(self) -> str:
        most = ", ".join(f"{k} {self.most[k]} of {self.slots[k]}" for k in TOTALS)
        return (
            f"{self.creates} creates, {self.refused} of them refused; "
            f"{self.deletes} deletes; {self.other} stops, starts and reboots; "
            f"strangers came or went {self.strangers} times; {self.probes} probes; "
            f"{self.settles} settles, {self.late} of them late; "
            f"most slots in use: {most}"
        )
