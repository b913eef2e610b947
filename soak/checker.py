# SPDX-License-Identifier: Apache-2.0
"""Where those who count slots disagree. Values in, plain words out."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping

from soak.tables import (
    PLAIN,
    POOLS,
    SYMBOLS,
    Domain,
    Expected,
    Host,
    Look,
    Provider,
    Server,
)

#: Of a server in these states the slot is kept; of the second no guest runs.
ACTIVE, STOPPED = "active", "stopped"


def disagreements(look: Look, expected: Expected) -> list[str]:
    """All that is wrong; empty when everybody agrees."""
    return [
        *_servers(look, expected),
        *_twice(look),
        *(
            complaint
            for name, host in look.hosts.items()
            for complaint in _host(name, host, look, expected)
        ),
    ]


def needless(
    kind: str,
    taken: collections.Counter[str],
    totals: Mapping[str, int],
    hosts: int,
    early: bool = False,
) -> str | None:
    """What is wrong with a refusal, None if it may have been right.

    :param taken: by kind, other servers that may have had a slot at any time between
        its request and its refusal, and strangers.
    :param totals: slots of each host, by kind.
    :param early: whether Nova may have let go of a slot before the guest had ended, of
        a kind that takes its keys from the same pool. Then guests of one kind may have
        had keys of the other, and a host none left though it had a slot.
    """
    total = totals[kind] * hosts
    if taken[kind] >= total:
        return None
    complaint = (
        f"a server of {kind} was refused, though never more than {taken[kind]} of "
        f"{total} slots can have been taken"
    )
    if not early:
        return complaint
    pool = [each for each in SYMBOLS if POOLS[each] == POOLS[kind]]
    held = sum(taken[each] for each in pool)
    # The fewest that shut it out: all keys of one host, its own slots of the others.
    fewest = sum(totals[each] for each in pool) + total - totals[kind]
    if held >= fewest:
        return None
    return f"{complaint}, nor more than {held} keys of {POOLS[kind]}"


def _servers(look: Look, expected: Expected) -> Iterator[str]:
    """Nova's database beside what was asked of it."""
    found = {server.uuid: server for server in look.servers}
    for uuid in expected.states.keys() - found.keys():
        yield f"Nova's database has lost server {uuid}"
    for uuid, server in found.items():
        name, state = server.name, expected.states.get(uuid)
        if uuid in expected.refused:
            continue  # on no host: what it still held there would be nobody's
        if state is None:
            yield f"{name} ({uuid}) was deleted and Nova's database still has it"
        elif server.state != state:
            yield f"{name} should be {state}, Nova's database says {server.state}"
        elif server.host not in look.hosts:
            yield f"{name} is on no host: {server.host}"


def _twice(look: Look) -> Iterator[str]:
    """One server, one slot, one domain."""
    holders = collections.Counter(
        holder
        for host in look.hosts.values()
        for provider in host.providers.values()
        for holder in provider.holders
    )
    domains = collections.Counter(
        domain.uuid for host in look.hosts.values() for domain in host.domains
    )
    for uuid, count in holders.items():
        if count > 1:
            yield f"{uuid} holds {count} slots in Placement"
    for uuid, count in domains.items():
        if count > 1:
            yield f"{uuid} is defined on {count} hosts"


def _host(name: str, host: Host, look: Look, expected: Expected) -> Iterator[str]:
    here = {server.uuid: server for server in look.servers if server.host == name}
    strangers = {s.uuid: s.kind for s in expected.strangers if s.host == name}
    reserved = collections.Counter(strangers.values())
    for complaint in (
        *_domains(here, strangers, host),
        *_surplus(host.providers),
        *(
            complaint
            for kind in SYMBOLS
            for complaint in _generation(
                kind, host, here, expected.totals[kind], reserved[kind]
            )
        ),
        *_simulator(host),
    ):
        yield f"{name}: {complaint}"
    if host.unencrypted:
        yield f"{name}: the driver's audit found {host.unencrypted} guests in the clear"


def _domains(
    here: Mapping[str, Server], strangers: Mapping[str, str], host: Host
) -> Iterator[str]:
    """libvirt beside Nova's database."""
    found = {domain.uuid: domain for domain in host.domains}
    for uuid, server in here.items():
        domain = found.pop(uuid, None)
        if domain is None:
            yield f"libvirt has no domain of {server.name}"
        elif domain.running != (server.state == ACTIVE):
            word = "runs" if domain.running else "does not run"
            yield f"{server.name} {word} in libvirt, Nova has it {server.state}"
        elif domain.kind != server.kind:
            yield f"{server.name} runs as {domain.kind}: it asked for {server.kind}"
    for uuid, kind in strangers.items():
        domain = found.pop(uuid, None)
        if domain is None or not domain.running:
            yield f"the stranger {uuid} of {kind} is gone: nobody has ended it"
    for uuid, domain in found.items():
        yield f"libvirt has a domain of {domain.kind}, {uuid}, that is nobody's"


def _surplus(providers: Mapping[str, Provider]) -> Iterator[str]:
    for name in providers.keys() - SYMBOLS.keys():
        yield f"Placement has slots on {name}, where none belong"


def _generation(
    kind: str, host: Host, here: Mapping[str, Server], total: int, strangers: int
) -> Iterator[str]:
    """Placement, and what the driver tells, beside Nova's database and ourselves."""
    provider = host.providers.get(kind)
    if provider is None:
        yield f"Placement has no slots of {kind}"
        return
    owners = {uuid for uuid, server in here.items() if server.kind == kind}
    if provider.total != total:
        yield f"Placement has {provider.total} slots of {kind}, the host has {total}"
    if provider.reserved != strangers:
        yield (
            f"Placement has {provider.reserved} slots of {kind} reserved, "
            f"{strangers} strangers run"
        )
    if provider.used != len(provider.holders):
        yield (
            f"Placement has {provider.used} slots of {kind} used, "
            f"and {len(provider.holders)} holders"
        )
    for uuid in provider.holders - owners:
        yield f"a slot of {kind} is lost: {uuid} holds it, no such server is here"
    for uuid in owners - provider.holders:
        yield f"{here[uuid].name} has no slot in Placement"
    if provider.free < 0:
        yield f"Placement has given away {-provider.free} slots of {kind} too many"
    told = dict(host.told.get(kind, {}))
    wanted = {
        "used": len(owners),
        "free": total - len(owners) - strangers,
        "reserved": strangers,
        "lost": 0,
    }
    if told != wanted:
        yield f"the driver tells {told} of {kind}, it should be {wanted}"


def _simulator(host: Host) -> Iterator[str]:
    """The simulated hardware's own count beside what runs."""
    runs: collections.Counter[str] = collections.Counter(
        POOLS[domain.kind] for domain in host.domains if _takes_a_key(domain)
    )
    for pool in sorted({*POOLS.values()}):
        if host.held[pool] != runs[pool]:
            yield (
                f"the hardware has given away {host.held[pool]} keys of {pool}, "
                f"and {runs[pool]} guests run with one"
            )


def _takes_a_key(domain: Domain) -> bool:
    return domain.running and domain.kind != PLAIN
