# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from a_cloud import BROKEN, ES, NODE1, NODES, REFUSED, SEV, cloud

from sev_driver.doctor.cloud import hosts
from sev_driver.doctor.cloud.facts import CloudSlots, Compute, Pool
from sev_driver.doctor.findings import Verdict
from sev_driver.placement.inventory import UNLIMITED

GONE = dataclasses.replace(SEV, total=0, reserved=0, used=0)
BOTH = frozenset({"node1", "node2"})
FINE = ["pass host.slots"]


def slots(*pools: Pool, nodes: frozenset[str] = NODES, **more: Any) -> CloudSlots:
    return CloudSlots(pools, nodes, **{"marked": NODES} | more)


CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("fine", {}, FINE),
    ("one without SEV", {"slots": slots(SEV, nodes=BOTH)}, [*FINE, "skip host.plain"]),
    ("no service told", {"computes": REFUSED}, ["skip service.read", *FINE]),
    ("no Placement", {"slots": BROKEN}, ["fail host.read"]),
    (
        "down",
        {"computes": (dataclasses.replace(NODE1, up=False),)},
        ["fail host.service", *FINE],
    ),
    (
        "disabled",
        {"computes": (dataclasses.replace(NODE1, enabled=False),)},
        ["warn host.service", *FINE],
    ),
    ("marked alone", {"slots": slots()}, ["fail host.slots", "fail host.none"]),
    (
        "an empty provider",
        {"slots": slots(GONE, marked=frozenset())},
        ["fail host.slots", "fail host.none"],
    ),
    (
        "lost under guests",
        {"slots": slots(dataclasses.replace(SEV, total=2, reserved=2, used=2))},
        ["fail host.slots", "fail host.none"],
    ),
    (
        "all of others",
        {"slots": slots(dataclasses.replace(SEV, reserved=15, used=0))},
        ["fail host.slots", "fail host.none"],
    ),
    (
        "on the root",
        {"slots": slots(dataclasses.replace(SEV, provider="node1"))},
        [*FINE, "warn host.root-slots"],
    ),
    (
        "no trait",
        {"slots": slots(dataclasses.replace(SEV, found=False))},
        [*FINE, "fail host.trait"],
    ),
    (
        "no limit",
        {"slots": slots(dataclasses.replace(SEV, total=UNLIMITED))},
        [*FINE, "warn host.limit"],
    ),
    (
        "overfull",
        {"slots": slots(dataclasses.replace(SEV, used=15))},
        [*FINE, "warn host.overfull"],
    ),
    (
        "registered, and nothing reported",
        {"computes": (NODE1, Compute("node2", True, True))},
        [*FINE, "fail host.provider"],
    ),
]


@pytest.mark.parametrize(
    ("parts", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_hosts(parts: dict[str, Any], expected: list[str]) -> None:
    found = list(hosts.check(cloud(**parts)))
    assert [f"{f.verdict.value} {f.check.id}" for f in found] == expected
    wrong = (Verdict.FAIL, Verdict.WARN)
    assert all(bool(f.remedy) is (f.verdict in wrong) for f in found)


def test_the_words() -> None:
    (finding,) = hosts.check(cloud())
    assert finding.seen == (
        "offers AMD SEV, 12 of 15 slots free; AMD SEV-ES, 0 of 5 slots free"
    )
    lost = dataclasses.replace(ES, reserved=5)
    finding, *_ = hosts.check(cloud(slots=slots(lost)))
    assert "5 guests hold slots" in finding.seen
