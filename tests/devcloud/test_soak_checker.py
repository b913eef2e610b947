# SPDX-License-Identifier: Apache-2.0
"""The soak's checker: tables in which all agree, and each kind of disagreement."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from devcloud.demo.domain import DomainFacts
from soak import __main__, chance, checker, growth, processes, rounds
from soak import requests as soak_requests
from soak.chance import Action, Chance, Request
from soak.cloud import SoakCloud, SoakError
from soak.counts import Counts
from soak.look import kind_of
from soak.processes import Holding
from soak.requests import REFUSAL, TOO_EARLY, Requests
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


#: It was sent to a host and is on none now: Nova's database has it beside the others.
REFUSED = Server("r", "snp-5", None, "error")


def with_one_refused(look: Look, **changes: Any) -> list[str]:
    refused = dataclasses.replace(REFUSED, **changes)
    return checker.disagreements(
        Look((*look.servers, refused), look.hosts),
        dataclasses.replace(EXPECTED, refused=frozenset("r")),
    )


def test_one_that_was_refused_is_there_until_it_is_deleted() -> None:
    assert with_one_refused(LOOK) == []
    look = Look((*LOOK.servers, REFUSED), LOOK.hosts)
    (complaint,) = checker.disagreements(look, EXPECTED)
    assert "snp-5 (r) was deleted and Nova's database still has it" in complaint


def test_one_that_was_refused_may_hold_nothing() -> None:
    held = slots("snp", used=2, holders=frozenset("cr"))
    assert "node1: a slot of snp is lost: r holds it, no such server is here" in (
        with_one_refused(held)
    )
    runs = host(domains=(*BUSY.domains, Domain("r", "snp", True)))
    assert "node1: libvirt has a domain of snp, r, that is nobody's" in (
        with_one_refused(runs)
    )
    assert with_one_refused(LOOK, host="node1")


@pytest.mark.parametrize(("taken", "right"), [(7, False), (8, True), (9, True)])
@pytest.mark.parametrize("early", [False, True])
def test_a_refusal_is_right_only_if_all_slots_can_have_been_taken(
    taken: int, right: bool, early: bool
) -> None:
    complaint = checker.needless("sev", Counter(sev=taken, es=9), TOTALS, 2, early)
    assert (complaint is None) is right


@pytest.mark.parametrize(
    ("kind", "taken", "right"),
    [
        # On node1 three guests of SEV-SNP, of which one was deleted and has its key
        # still; on node2 the only slot of SEV-ES is taken.
        ("es", Counter(es=1, snp=3), True),
        ("es", Counter(es=0, snp=6), True),
        ("es", Counter(es=1, snp=2), False),
        ("es", Counter(es=1, sev=8), False),
        ("snp", Counter(es=2, snp=3), True),
        ("snp", Counter(es=2, snp=2), False),
    ],
)
def test_a_slot_that_nova_let_go_too_early_may_be_another_kinds(
    kind: str, taken: Counter[str], right: bool
) -> None:
    assert (checker.needless(kind, taken, TOTALS, 2, early=True) is None) is right
    assert checker.needless(kind, taken, TOTALS, 2) is not None


class FakeNova:
    """What is told of each server that is made, in turn: "" where it runs."""

    def __init__(self, *faults: str) -> None:
        self.faults = dict(enumerate(faults))
        self.made: dict[str, Any] = {}

    def create_server(self, name: str, **_: Any) -> Any:
        number = min(self.faults)
        fault = self.faults.pop(number)
        self.made[str(number)] = SimpleNamespace(
            id=str(number),
            name=name,
            status="ERROR" if fault else "ACTIVE",
            task_state=None,
            fault={"message": fault},
        )
        return self.made[str(number)]

    def servers(self, status: str | None = None) -> list[Any]:
        return [s for s in self.made.values() if status in (None, s.status)]

    def delete_server(self, server: Any) -> None:
        del self.made[server if isinstance(server, str) else server.id]

    def wait_for_delete(self, server: Any, **_: Any) -> None:
        assert server.id not in self.made


def cloud_of(nova: FakeNova) -> SoakCloud:
    deaths = SimpleNamespace(exists=lambda: False)
    cloud = SimpleNamespace(
        connection=SimpleNamespace(compute=nova),
        parts=dict.fromkeys((*TOTALS, PLAIN), ("flavor", "image")),
        hosts=dict.fromkeys(("node1", "node2")),
        cloud=SimpleNamespace(layout=SimpleNamespace(deaths=deaths)),
    )
    return cast(SoakCloud, cloud)


def requests_to(nova: FakeNova, monkeypatch: pytest.MonkeyPatch) -> Requests:
    monkeypatch.setattr(soak_requests, "AT_ONCE", 1)  # in the order of the faults
    return Requests(cloud_of(nova), Counts())


def create(*kinds: str) -> list[Request]:
    return [Request(Action.CREATE, kind) for kind in kinds]


def test_who_was_refused_is_known_until_it_is_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nova = FakeNova("", "", REFUSAL)
    requests = requests_to(nova, monkeypatch)

    assert requests.do(create("es", "es", "es")) == ["es"]
    assert requests.refused == {"2"}
    assert requests.states.keys() == {"0", "1"}

    requests.delete_refused()
    assert requests.refused == set()
    assert nova.made.keys() == {"0", "1"}


def test_all_agree_with_one_that_was_refused_and_it_is_deleted_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Look((*LOOK.servers, REFUSED), LOOK.hosts)
    onlooker = SimpleNamespace(look=lambda: seen, await_updates=lambda: None)
    monkeypatch.setattr(rounds, "Onlooker", lambda cloud: onlooker)
    soak = rounds.Soak(cloud_of(FakeNova()), Chance(1), print)
    soak.requests.states = dict(EXPECTED.states)
    soak.requests.refused = {"r"}
    soak._strangers = EXPECTED.strangers
    soak.agree_timeout = 0

    assert soak.settle("one was refused") is seen

    assert not soak.requests.refused


@pytest.mark.parametrize("words", [REFUSAL, TOO_EARLY])
def test_a_refusal_beside_one_that_was_deleted_while_it_was_built(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Right where its guest can have had the last key of a host."""
    nova = FakeNova("", "", "", "", words)
    regretted = Request(Action.REGRET, "snp")
    requests = requests_to(nova, monkeypatch)
    asked = [*create("es", "snp", "snp"), regretted, *create("es")]

    assert requests.do(asked) == ["es"]


@pytest.mark.parametrize("words", [REFUSAL, TOO_EARLY])
def test_a_refusal_with_nothing_deleted_while_it_was_built(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    requests = requests_to(FakeNova("", "", "", "", words), monkeypatch)
    with pytest.raises(SoakError, match=r"never more than 1 of 2|Exceeded maximum"):
        requests.do(create("es", "snp", "snp", "snp", "es"))


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


def test_a_seed_chooses_the_same_whatever_novas_uuids_are() -> None:
    def places(uuids: str) -> list[tuple[Action, int]]:
        chance, servers = Chance(3), dict.fromkeys(uuids, "active")
        return [
            (request.action, uuids.index(request.uuid))
            for _ in range(20)
            for request in chance.round(servers)
        ]

    assert places("abcdefgh") == places("hcafbgde")


def test_a_round_that_went_otherwise_leaves_the_next_ones_as_they_were() -> None:
    servers = dict.fromkeys("abcdefgh", "active")
    one, other = Chance(3), Chance(3)
    assert one.round({}) != other.round(servers)
    other.random.random()  # for a stranger
    assert one.round(servers) == other.round(servers)


# The command line


@pytest.mark.parametrize("updates", ["5", "-1"])
def test_too_few_updates_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], updates: str
) -> None:
    monkeypatch.setattr(__main__.os, "geteuid", lambda: 1000)  # never a cloud here
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--creates", "0", "--updates", updates])
    assert ended.value.code == 2
    assert f"{updates} are too few: from {growth.POINTS} on" in capsys.readouterr().err


@pytest.mark.parametrize(("creates", "said"), [("6", True), ("0", False)])
def test_only_creates_show_that_no_slot_was_lost(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    creates: str,
    said: bool,
) -> None:
    monkeypatch.setattr(__main__.os, "geteuid", lambda: 0)
    monkeypatch.setattr(__main__.signal, "signal", lambda *_: None)
    monkeypatch.setattr(__main__.cloud, "require_userland", lambda: None)
    for part in ("_soak", "_grow"):
        monkeypatch.setattr(__main__, part, lambda *_: None)

    assert __main__.main(["--creates", creates, "--updates", "10"]) == 0

    assert ("no slot was lost" in capsys.readouterr().out) is said


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
