# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses

import pytest
from a_cloud import ES, NODE1, NODES, REFUSED, SEV, SLOTS

from sev_driver.doctor.cloud import hosts
from sev_driver.doctor.cloud.facts import CloudSlots, Pool, Unavailable
from sev_driver.placement.inventory import UNLIMITED

OTHER = Pool("node2_amd_sev", "node2", total=10, reserved=0, used=1)
TABLE = """\
host       model       total  reserved  used  free  usable
---------  ----------  -----  --------  ----  ----  ------
node1      AMD SEV        15         1     2    12      12
node1      AMD SEV-ES      5         0     5     0       0
node2      AMD SEV        10         0     1     9       9
---------  ----------  -----  --------  ----  ----  ------
all hosts  AMD SEV        25         1     3    21      21
all hosts  AMD SEV-ES      5         0     5     0       0"""


def test_the_table() -> None:
    slots = CloudSlots((OTHER, ES, SEV), NODES)
    assert hosts.as_text(hosts.rows(slots, (NODE1,))) == TABLE.splitlines()


@pytest.mark.parametrize(
    ("computes", "disabled", "usable"),
    [
        ((NODE1,), frozenset(), 12),
        ((dataclasses.replace(NODE1, up=False),), frozenset(), 0),
        ((dataclasses.replace(NODE1, enabled=False),), frozenset(), 0),
        (REFUSED, frozenset(), 12),
        (REFUSED, NODES, 0),
    ],
)
def test_slots_of_hosts_that_take_no_guests(
    computes: tuple[()] | Unavailable, disabled: frozenset[str], usable: int
) -> None:
    slots = dataclasses.replace(SLOTS, disabled=disabled)
    sev, _ = hosts.rows(slots, computes)
    assert (sev.free, sev.usable) == (12, usable)


def test_no_limit_is_said_in_words() -> None:
    pool = dataclasses.replace(SEV, total=UNLIMITED, reserved=0)
    (row,) = hosts.rows(CloudSlots((pool,), NODES), (NODE1,))
    assert row.unlimited and row.used == 2
    assert "no limit" in hosts.as_text([row])[2]


def test_more_held_than_offered_leaves_nothing_free() -> None:
    pool = dataclasses.replace(SEV, used=15)
    (row,) = hosts.rows(CloudSlots((pool,), NODES), (NODE1,))
    assert row.free == 0
