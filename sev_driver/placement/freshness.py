# SPDX-License-Identifier: Apache-2.0

"""How long Placement's answer about the consumers of slots may be reused.

If every host sends a query each minute, the load on Placement grows with the cloud.
Most changes can be seen on the host: a guest starts or ends, or the provider has a new
generation, which Placement increments with each allocation. Only the deletion of an
allocation cannot be seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Final

from sev_driver.model import MemoryEncryptionModel

#: Seconds after a change in which each update queries Placement: Nova deletes the
#: allocations of a server after its guest has ended.
SETTLING: Final = 120


@dataclasses.dataclass(frozen=True)
class Situation:
    """The facts about the use of slots that need no query to Placement.

    ``running`` are the encrypted guests that libvirt lists, with the id of each start;
    ``outside`` is the number of guests that only the kernel counts. ``offers`` are the
    slots offered of each model; ``generations`` are those of the resource providers
    with slots, by name.
    """

    running: Collection[tuple[str, int]]
    outside: Mapping[MemoryEncryptionModel, int]
    offers: Mapping[MemoryEncryptionModel, int]
    generations: Mapping[str, int | None]


def may_reuse(queried: float, changed: float, now: float, interval: float) -> bool:
    """Return whether Placement's answer may be reused.

    :param queried: the time of the query, in seconds.
    :param changed: the time of the last change of the situation, in seconds.
    :param now: the current time, in seconds.
    :param interval: how long an answer may be used, in seconds; 0: no reuse.
    """
    is_settled = queried - changed >= min(SETTLING, interval)
    return is_settled and now - queried < interval
