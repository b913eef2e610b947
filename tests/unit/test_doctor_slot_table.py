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

from __future__ import annotations

import dataclasses

import pytest
from a_cloud import ES, NODE1, NODES, REFUSED, SEV, SLOTS

from sev_driver.doctor import slot_table
from sev_driver.doctor.cloud_facts import Pool, Slots, Unread
from sev_driver.inventory import UNLIMITED

OTHER = Pool("node2_amd_sev", "node2", total=10, reserved=0, used=1)
TABLE = """\
host       generation  total  reserved  used  free  usable
---------  ----------  -----  --------  ----  ----  ------
node1      AMD SEV        15         1     2    12      12
node1      AMD SEV-ES      5         0     5     0       0
node2      AMD SEV        10         0     1     9       9
---------  ----------  -----  --------  ----  ----  ------
all hosts  AMD SEV        25         1     3    21      21
all hosts  AMD SEV-ES      5         0     5     0       0"""


def test_the_table() -> None:
    slots = Slots((OTHER, ES, SEV), NODES)
    assert slot_table.as_text(slot_table.rows(slots, (NODE1,))) == TABLE.splitlines()


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
    computes: tuple[()] | Unread, disabled: frozenset[str], usable: int
) -> None:
    slots = dataclasses.replace(SLOTS, disabled=disabled)
    sev, _ = slot_table.rows(slots, computes)
    assert (sev.free, sev.usable) == (12, usable)


def test_no_limit_is_said_in_words() -> None:
    pool = dataclasses.replace(SEV, total=UNLIMITED, reserved=0)
    (row,) = slot_table.rows(Slots((pool,), NODES), (NODE1,))
    assert row.unlimited and row.used == 2
    assert "no limit" in slot_table.as_text([row])[2]


def test_more_held_than_offered_leaves_nothing_free() -> None:
    pool = dataclasses.replace(SEV, used=15)
    (row,) = slot_table.rows(Slots((pool,), NODES), (NODE1,))
    assert row.free == 0
