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
"""The soak's checker: tables in which all agree, and each kind of disagreement."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from devcloud.demo.domain import DomainFacts
from soak import chance, checker, growth, processes
from soak.chance import Action, Chance
from soak.look import kind_of
from soak.processes import Holding
from soak.tables import (
    PLAIN,
    Domain,
    Expected,
    Host,
    Look,
    Provider,
    Server,
    Stranger,
)

TOTALS = {"sev": 4, "es": 1, "snp": 2}


def provider(kind: str, *holders: str, reserved: int = 0) -> Provider:
    return Provider(TOTALS[kind], reserved, len(holders), frozenset(holders))


def told(kind: str, used: int = 0, reserved: int = 0) -> dict[str, int]:
    free = TOTALS[kind] - used - reserved
    return {"used": used, "free": free, "reserved": reserved, "lost": 0}


#: On node1 two of SEV, one of them off, one of SEV-SNP, a plain one and a stranger
#: of SEV-ES; on node2 nothing.
BUSY = Host(
    domains=(
        Domain("a", "sev", True),
        Domain("b", "sev", False),
        Domain("c", "snp", True),
        Domain("d", PLAIN, True),
        Domain("s", "es", True),
    ),
    providers={
        "sev": provider("sev", "a", "b"),
        "es": provider("es", reserved=1),
        "snp": provider("snp", "c"),
    },
    held={"sev": 1, "sev_es_snp": 2},
    told={"sev": told("sev", 2), "es": told("es", 0, 1), "snp": told("snp", 1)},
)
IDLE = Host(
    domains=(),
    providers={kind: provider(kind) for kind in TOTALS},
    held={"sev": 0, "sev_es_snp": 0},
    told={kind: told(kind) for kind in TOTALS},
)
LOOK = Look(
    servers=(
        Server("a", "sev-1", "node1", "active"),
        Server("b", "sev-2", "node1", "stopped"),
        Server("c", "snp-3", "node1", "active"),
        Server("d", "plain-4", "node1", "active"),
    ),
    hosts={"node1": BUSY, "node2": IDLE},
)
EXPECTED = Expected(
    TOTALS,
    {"a": "active", "b": "stopped", "c": "active", "d": "active"},
    (Stranger("s", "node1", "es"),),
)


def test_all_agree() -> None:
    assert checker.disagreements(LOOK, EXPECTED) == []
    assert {kind: LOOK.free(kind) for kind in TOTALS} == {"sev": 6, "es": 1, "snp": 3}


def host(**changes: Any) -> Look:
    """With these of node1."""
    busy = dataclasses.replace(BUSY, **changes)
    return Look(LOOK.servers, {"node1": busy, "node2": IDLE})


def slots(kind: str, **changes: Any) -> Look:
    changed = dataclasses.replace(BUSY.providers[kind], **changes)
    return host(providers={**BUSY.providers, kind: changed})


def domain(uuid: str, **changes: Any) -> Look:
    return host(
        domains=tuple(
            dataclasses.replace(each, **changes) if each.uuid == uuid else each
            for each in BUSY.domains
        )
    )


def server(uuid: str, **changes: Any) -> Look:
    servers = tuple(
        dataclasses.replace(each, **changes) if each.uuid == uuid else each
        for each in LOOK.servers
    )
    return Look(servers, LOOK.hosts)


def without(uuid: str) -> Look:
    return host(domains=tuple(each for each in BUSY.domains if each.uuid != uuid))


WRONG: dict[str, tuple[Look, str]] = {
    "one slot too many": (slots("snp", total=3), "has 3 slots of snp, the host has 2"),
    "one slot too few": (slots("snp", total=1), "has 1 slots of snp, the host has 2"),
    "a stranger forgotten": (slots("es", reserved=0), "0 slots of es reserved, 1 str"),
    "a stranger twice": (slots("es", reserved=2), "2 slots of es reserved, 1 strang"),
    "a slot lost": (
        slots("sev", used=3, holders=frozenset("abz")),
        "a slot of sev is lost: z holds it",
    ),
    "a slot not taken": (
        slots("sev", used=1, holders=frozenset("a")),
        "sev-2 has no slot in Placement",
    ),
    "a slot taken twice": (
        slots("snp", used=2, holders=frozenset("ca")),
        "a holds 2 slots in Placement",
    ),
    "too many given away": (
        slots("es", used=1, holders=frozenset("z")),
        "has given away 1 slots of es too many",
    ),
    "a wrong sum": (slots("sev", used=1), "1 slots of sev used, and 2 holders"),
    "no provider": (
        host(providers={kind: BUSY.providers[kind] for kind in ("sev", "snp")}),
        "Placement has no slots of es",
    ),
    "a provider too many": (
        host(providers={**BUSY.providers, "node1": provider("sev")}),
        "Placement has slots on node1, where none belong",
    ),
    "a domain that is gone": (without("a"), "libvirt has no domain of sev-1"),
    "a domain that ended": (domain("a", running=False), "sev-1 does not run in libv"),
    "a domain that was stopped": (domain("b", running=True), "sev-2 runs in libvirt"),
    "in the clear": (domain("a", kind=PLAIN), "sev-1 runs as plain: it asked for sev"),
    "another generation": (domain("c", kind="es"), "snp-3 runs as es"),
    "encrypted unasked": (domain("d", kind="sev"), "plain-4 runs as sev"),
    "nobody's domain": (
        host(domains=(*BUSY.domains, Domain("z", "sev", True))),
        "libvirt has a domain of sev, z, that is nobody's",
    ),
    "on two hosts": (
        Look(
            LOOK.servers,
            {
                "node1": BUSY,
                "node2": dataclasses.replace(IDLE, domains=BUSY.domains[:1]),
            },
        ),
        "a is defined on 2 hosts",
    ),
    "a stranger that is gone": (without("s"), "the stranger s of es is gone"),
    "a key too many": (host(held={"sev": 2, "sev_es_snp": 2}), "given away 2 keys of"),
    "a key too few": (host(held={"sev": 1, "sev_es_snp": 1}), "given away 1 keys of"),
    "the driver tells less": (
        host(told={**BUSY.told, "snp": told("snp")}),
        "the driver tells {'used': 0",
    ),
    "the audit found one": (host(unencrypted=1), "audit found 1 guests in the clear"),
    "a server too few": (Look(LOOK.servers[1:], LOOK.hosts), "has lost server a"),
    "a server too many": (
        Look((*LOOK.servers, Server("z", "es-9", "node1", "active")), LOOK.hosts),
        "es-9 (z) was deleted and Nova's database still has it",
    ),
    "another state": (server("b", state="active"), "sev-2 should be stopped, Nova's"),
    "on no host": (server("d", host=None), "plain-4 is on no host"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_disagreement_is_told_in_words(case: str) -> None:
    look, words = WRONG[case]
    found = checker.disagreements(look, EXPECTED)
    assert [line for line in found if words in line], found


@pytest.mark.parametrize(("taken", "right"), [(7, False), (8, True), (9, True)])
def test_a_refusal_is_right_only_if_all_slots_can_have_been_taken(
    taken: int, right: bool
) -> None:
    assert (checker.needless("sev", taken, 8) is None) is right


@pytest.mark.parametrize(
    ("security", "policy", "kind"),
    [(None, None, PLAIN), ("sev", 3, "sev"), ("sev", 7, "es"), ("sev-snp", 7, "snp")],
)
def test_what_a_domain_runs_as(
    security: str | None, policy: int | None, kind: str
) -> None:
    facts = DomainFacts(security, policy, "q35", None, None, False, {})
    assert kind_of(facts) == kind


def test_requests_are_the_same_again_by_their_seed() -> None:
    servers = {str(number): "active" for number in range(9)} | {"off": "stopped"}

    def some(seed: int) -> list[list[chance.Request]]:
        chance = Chance(seed)
        return [chance.round(servers) for _ in range(50)]

    assert some(3) == some(3)
    assert some(3) != some(4)
    asked = [request for round_ in some(3) for request in round_]
    assert {request.action for request in asked} == set(Action)
    for round_ in some(3):
        uuids = [request.uuid for request in round_ if request.uuid]
        assert len(uuids) == len(set(uuids))
    assert all(r.uuid == "off" for r in asked if r.action is Action.START)


# Growth


@pytest.mark.parametrize(
    ("pid", "files", "words"),
    [(1, 27, None), (1, 127, "100 more files are open"), (2, 27, "not the same proce")],
)
def test_a_nova_compute_that_keeps_files_open_is_told(
    pid: int, files: int, words: str | None
) -> None:
    found = processes.complaint(Holding(1, 170, 27, 38), Holding(pid, 175, files, 57))
    assert found == words or (words and found and words in found)


POINT = {"files": 11, "threads": 4, "objects": 260_000, "blocks": 880_000}


def grown(**more: int) -> list[growth.Point]:
    """By that much in 9,000 updates."""
    first = {"updates": 1000, **POINT, "resident": 170 << 20}
    last = {name: number + more.get(name, 0) for name, number in first.items()}
    return [first, last | {"updates": 10_000}]


def test_what_does_not_grow_is_right() -> None:
    assert growth.complaints(grown()) == []
    assert growth.complaints(grown(blocks=-5000, resident=-(9 << 20))) == []


#: What an update that keeps something keeps at least.
LEAKS: dict[str, Callable[[int], int]] = {
    "objects": lambda updates: updates,
    "blocks": lambda updates: updates,
    "files": lambda updates: 1,
    "threads": lambda updates: 1,
    "resident": lambda updates: 9 << 20,
}


@pytest.mark.parametrize("what", LEAKS)
def test_what_grows_with_the_updates_is_told(what: str) -> None:
    (complaint,) = growth.complaints(grown(**{what: LEAKS[what](9000)}))
    assert complaint.startswith(f"{what} grew from ")
