# SPDX-License-Identifier: Apache-2.0
"""How much is measured: all of it, all but few times, or the smallest of each."""

from __future__ import annotations

import dataclasses

Rounds = dict[int, int]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """By the size of the work, how many times each driver does it."""

    devices: Rounds
    domains: Rounds
    starts: int
    processes: int
    hosts: Rounds
    #: Servers at once, by kind.
    servers: dict[str, Rounds]


#: Under ten minutes on two quiet cores, most of it in servers.
FULL = Sizes(
    devices={1: 40, 4: 40, 16: 40, 64: 40},
    domains={0: 30, 50: 20, 500: 8},
    starts=8,
    processes=6,
    hosts={10: 20, 100: 15, 1000: 8},
    servers={"encrypted": {1: 5, 4: 3, 16: 2}, "plain": {1: 3, 4: 2}},
)
#: For a busy machine: the same curves but for servers, of fewer pairs.
SHORT = Sizes(
    devices={1: 10, 4: 10, 16: 10, 64: 10},
    domains={0: 6, 50: 5, 500: 3},
    starts=3,
    processes=3,
    hosts={10: 5, 100: 4, 1000: 3},
    servers={"encrypted": {1: 2, 4: 1}, "plain": {1: 1}},
)
#: That it works, no more; in a minute.
QUICK = Sizes(
    devices={1: 2},
    domains={0: 2, 5: 2},
    starts=1,
    processes=1,
    hosts={10: 2},
    servers={"encrypted": {1: 1}},
)
