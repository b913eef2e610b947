# SPDX-License-Identifier: Apache-2.0

"""The cloud's hosts: which offer slots, and which should but do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from sev_driver.doctor.cloud.compatibility import FindingBuilder, short
from sev_driver.doctor.cloud.facts import Cloud, CloudSlots, Compute, Pool, Unavailable
from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement.inventory import UNLIMITED

READS = "resource providers and their inventories, of Placement"
SERVICES = "compute services and hypervisors, of the compute API"

_LOOK = "run sev-doctor on the host; the log of nova-compute says what was found"


def check(cloud: Cloud) -> Iterator[Finding]:
    """Yield what is to be said of the hosts."""
    if isinstance(cloud.computes, Unavailable):
        yield FindingBuilder("service", "compute services", SERVICES).unread(
            cloud.computes
        )
        computes: tuple[Compute, ...] = ()
    else:
        computes = cloud.computes
    if isinstance(cloud.slots, Unavailable):
        yield FindingBuilder("host", "slots", READS).unread(cloud.slots)
        return
    services = {node: compute for compute in computes for node in compute.nodes}
    for name in sorted(cloud.slots.nodes | {p.root for p in cloud.slots.pools}):
        yield from _host(name, cloud.slots, services.get(name))
    for compute in computes:
        if not set(compute.nodes) & cloud.slots.nodes:
            subject = FindingBuilder("host", compute.host, READS)
            seen = "nova-compute is registered, and Placement has no provider of it"
            remedy = "see its log for why it does not report its resources"
            yield subject.finding("provider", Verdict.FAIL, seen, remedy)
    yield from _plain(cloud.slots)


def _host(name: str, slots: CloudSlots, service: Compute | None) -> Iterator[Finding]:
    subject = FindingBuilder("host", name, READS)
    pools = [pool for pool in slots.pools if pool.root == name]
    offers = [pool for pool in pools if pool.total > pool.reserved]
    if not offers:
        yield from _none_offered(subject, pools, name in slots.marked)
        return
    if service is not None:
        yield from _service(name, service, offers)
    message = "; ".join(map(_words, offers))
    yield subject.finding("slots", Verdict.PASS, f"offers {message}")
    for pool in pools:
        yield from _pool(subject, pool)


def _words(pool: Pool) -> str:
    if pool.total == UNLIMITED:
        return f"{pool.model.title}, no limit is known"
    return f"{pool.model.title}, {pool.free} of {pool.total} slots free"


def _none_offered(
    subject: FindingBuilder, pools: list[Pool], marked: bool
) -> Iterator[Finding]:
    held = sum(pool.used for pool in pools)
    if held:
        seen = f"offers no slot, and {held} guests hold slots of it: SEV was lost there"
        seen += ", or is limited to none"
        yield subject.finding("slots", Verdict.FAIL, seen, _LOOK)
    elif any(pool.total for pool in pools):
        count = sum(pool.reserved for pool in pools)
        seen = f"has {count} slots, and all are reserved: others on the host hold them"
        remedy = "see virsh list there for guests that are not Nova's"
        yield subject.finding("slots", Verdict.FAIL, seen, remedy)
    elif pools or marked:
        seen = "is marked as a host with AMD SEV" if marked else "has a provider for it"
        seen = f"{seen}, and offers no slot"
        yield subject.finding("slots", Verdict.FAIL, seen, _LOOK)


def _service(name: str, service: Compute, offers: list[Pool]) -> Iterator[Finding]:
    subject = FindingBuilder("host", name, SERVICES)
    count = sum(pool.free for pool in offers)
    cost = f"none of its {count} free slots can be used"
    if not service.up:
        seen = f"its nova-compute is down: {cost}"
        remedy = f"start nova-compute on {service.host}; see its log"
        yield subject.finding("service", Verdict.FAIL, seen, remedy)
    elif not service.enabled:
        why = f" ({service.disabled_reason})" if service.disabled_reason else ""
        seen = f"its nova-compute is disabled{why}: {cost}"
        remedy = f"openstack compute service set --enable {service.host} nova-compute"
        yield subject.finding("service", Verdict.WARN, seen, remedy)


def _pool(subject: FindingBuilder, pool: Pool) -> Iterator[Finding]:
    who = f"provider {pool.provider}"
    if pool.on_root:
        yield subject.finding(
            "root-slots",
            Verdict.WARN,
            "has its slots on its own provider, as Nova 31 and older",
            "where it runs sev_driver and keeps it: unset [sev] prepare_for_stock_nova "
            "and restart nova-compute; else upgrade it",
        )
    elif not pool.found:
        yield subject.finding(
            "trait",
            Verdict.FAIL,
            f"{who} lacks the trait {pool.model.trait}: Nova 32 and later does not "
            f"find its slots",
            "restart its nova-compute, which sets it; see who takes it away",
        )
    if pool.total == UNLIMITED:
        yield subject.finding(
            "limit",
            Verdict.WARN,
            f"{who} offers slots without a limit: guests beyond the hardware's number "
            f"fail when they start",
            "upgrade libvirt to 8.0 or later, or set [libvirt] "
            "num_memory_encrypted_guests",
        )
    elif pool.used > pool.total - pool.reserved:
        yield subject.finding(
            "overfull",
            Verdict.WARN,
            f"{who}: {pool.used} slots are held and {pool.total - pool.reserved} are "
            f"offered; a guest that stops may not start again",
            "move guests to other hosts; see who else uses SEV there",
        )


def _plain(slots: CloudSlots) -> Iterator[Finding]:
    """One line for all hosts of which nothing says that they should offer any."""
    known = slots.marked | {pool.root for pool in slots.pools}
    plain = sorted(slots.nodes - known)
    subject = FindingBuilder("host", "all", READS)
    if not any(pool.total > pool.reserved for pool in slots.pools):
        seen = f"no host of {len(slots.nodes)} offers a slot"
        yield subject.finding("none", Verdict.FAIL, seen, _LOOK)
    elif plain:
        seen = f"{len(plain)} without slots and without a sign of SEV: {short(plain)}"
        yield subject.finding("plain", Verdict.SKIP, seen)


@dataclasses.dataclass(frozen=True)
class Row:
    """Slots of one model; of one host, or of all of them (``host`` is empty).

    ``usable`` is what of ``free`` is on hosts that take guests: whose nova-compute
    is up and enabled, as far as it is known.
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


def rows(slots: CloudSlots, computes: tuple[Compute, ...] | Unavailable) -> list[Row]:
    """Return a row for each model of each host, by host and then by model."""
    closed = set(slots.disabled)
    if not isinstance(computes, Unavailable):
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
    """Return one row for each model that has slots."""
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
    head = ("host", "model", "total", "reserved", "used", "free", "usable")
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
