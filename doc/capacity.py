# SPDX-License-Identifier: Apache-2.0
"""Three servers to reckon with, for the manual's tables and plot.

Their slots are those of tests/data/hosts; their memory is a usual fit-out.
"""

import dataclasses
from collections.abc import Iterator

from sev_driver.host import memory

#: MiB of RAM of the guests in the table.
GUESTS = (2048, 4096, 8192, 16384, 65536)
#: libvirt's advice, and the spec's formula.
BEYOND = (memory.LIBVIRT_MIB, memory.spec_overhead_mib())


@dataclasses.dataclass(frozen=True)
class Server:
    """``own_need_mib`` is what the host itself takes, without any guest."""

    name: str
    slots: int
    total_mib: int
    own_need_mib: int

    def fits(self, guest_mib: int, beyond_mib: int = memory.LIBVIRT_MIB) -> int:
        """How many encrypted guests of that size."""
        return memory.guests_that_fit(
            self.total_mib, self.own_need_mib, guest_mib, self.slots, beyond_mib
        )

    @property
    def turning_mib(self) -> int:
        """The size of guest up to which the slots run out before the memory."""
        return (self.total_mib - self.own_need_mib) // self.slots - memory.LIBVIRT_MIB


SERVERS = (
    Server("EPYC 7001", 15, 256 * 1024, 4096),
    Server("EPYC 7003", 509, 1024 * 1024, 8192),
    Server("EPYC 9005", 1006, 3072 * 1024, 16384),
)


def reserve_rows() -> Iterator[list[str]]:
    """What to reserve where every slot is taken."""
    yield ["Server", "Slots", "RAM", "Own need", "Minimum", "Recommended", "Of its RAM"]
    for server in SERVERS:
        advice = memory.advise(server.slots)
        yield [
            server.name,
            str(server.slots),
            _gib(server.total_mib),
            _mib(server.own_need_mib),
            _mib(server.own_need_mib + advice.minimum_mib),
            _mib(server.own_need_mib + advice.recommended_mib),
            f"{advice.recommended_mib / server.total_mib:.1%}",
        ]


def guest_rows() -> Iterator[list[str]]:
    """How many guests of a size, by libvirt's advice and by the spec's formula."""
    yield ["A guest's RAM", *(server.name for server in SERVERS)]
    for guest in GUESTS:
        cells = []
        for server in SERVERS:
            recommended, least = (server.fits(guest, beyond) for beyond in BEYOND)
            which = "slots" if recommended == server.slots else "memory"
            more = f" ({least})" if least != recommended else ""
            cells.append(f"{recommended}{more}, {which}")
        yield [_gib(guest), *cells]


def option_rows() -> Iterator[list[str]]:
    """What to write into nova.conf of each, for guests of 8 GiB."""
    yield ["Server", "num_memory_encrypted_guests", "reserved_host_memory_mb"]
    for server in SERVERS:
        guests = server.fits(8192)
        reserve = server.own_need_mib + memory.advise(guests).recommended_mib
        sum_ = f"{reserve} = {server.own_need_mib} + {guests} x {memory.LIBVIRT_MIB}"
        yield [server.name, str(guests), sum_]


def _mib(number: int) -> str:
    return f"{number:,} MiB".replace(",", " ")


def _gib(mib: int) -> str:
    return f"{mib // 1024} GiB"
