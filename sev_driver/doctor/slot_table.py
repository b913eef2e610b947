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

"""The cloud's slots as a table: a row for each host and generation, and their sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from sev_driver.doctor.cloud_facts import Compute, Pool, Slots, Unread
from sev_driver.inventory import UNLIMITED
from sev_driver.model import MemoryEncryptionModel


@dataclasses.dataclass(frozen=True)
class Row:
    """Slots of one generation; of one host, or of all of them (``host`` is empty).

    ``usable`` is what of ``free`` is on hosts that take guests: whose nova-compute
    is up and enabled, as far as that was told.
    """

    host: str
    model: MemoryEncryptionModel
    total: int
    reserved: int
    used: int
    free: int
    usable: int

    @property
    def unlimited(self) -> bool:
        return self.total >= UNLIMITED


def rows(slots: Slots, computes: tuple[Compute, ...] | Unread) -> list[Row]:
    """Return a row for each host's generation, by host and then by generation."""
    closed = set(slots.disabled)
    if not isinstance(computes, Unread):
        closed.update(
            node for c in computes if not (c.up and c.enabled) for node in c.nodes
        )
    order = list(MemoryEncryptionModel)
    pools = sorted(slots.pools, key=lambda p: (p.root, order.index(p.model)))
    return [_row(pool, pool.root not in closed) for pool in pools]


def _row(pool: Pool, takes_guests: bool) -> Row:
    return Row(
        pool.root,
        pool.model,
        pool.total,
        pool.reserved,
        pool.used,
        pool.free,
        pool.free if takes_guests else 0,
    )


def sums(found: Iterable[Row]) -> list[Row]:
    """Return one row for each generation that there is."""
    found = list(found)
    return [
        Row(
            "",
            model,
            sum(row.total for row in of),
            sum(row.reserved for row in of),
            sum(row.used for row in of),
            sum(row.free for row in of),
            sum(row.usable for row in of),
        )
        for model in MemoryEncryptionModel
        if (of := [row for row in found if row.model is model])
    ]


def as_text(found: list[Row]) -> list[str]:
    """Return the lines of the table, its head first."""
    head = ("host", "generation", "total", "reserved", "used", "free", "usable")
    body = [head, *map(_cells, found), *map(_cells, sums(found))]
    widths = [max(len(row[column]) for row in body) for column in range(len(head))]
    lines = []
    for row in body:
        words = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(words).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return [lines[0], rule, *lines[1 : len(found) + 1], rule, *lines[len(found) + 1 :]]


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (row.total, row.reserved, row.used, row.free, row.usable)
    texts = ["no limit" if n >= UNLIMITED // 2 else str(n) for n in numbers]
    return (row.host or "all hosts", row.model.title, *texts)
