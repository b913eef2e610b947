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

"""inventory: what Placement is told."""

import pytest

from sev_driver import inventory
from sev_driver.capabilities import ModelCapability, Obstacle
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV


def capability(slots: int | None) -> ModelCapability:
    return ModelCapability(SEV, slots=slots, slots_source="libvirt")


@pytest.mark.parametrize(
    ("detected", "cap", "total"),
    [
        (15, None, 15),
        (15, 0, 0),
        (15, 4, 4),
        (15, 15, 15),
        (15, 16, 15),
        (None, None, inventory.UNLIMITED),
        (None, 0, 0),
        (None, 7, 7),
    ],
)
def test_count(detected: int | None, cap: int | None, total: int) -> None:
    assert inventory.count(capability(detected), cap).total == total


def test_a_cap_above_the_hardware_is_warned_of() -> None:
    slots = inventory.count(capability(15), 100)
    assert slots.warning is not None
    assert "is 100, but this host has 15 slots" in slots.warning
    assert inventory.count(capability(15), 15).warning is None
    assert inventory.count(capability(15), 4).warning is None


@pytest.mark.parametrize("obstacle", Obstacle)
def test_without_support_a_cap_offers_nothing(obstacle: Obstacle) -> None:
    slots = inventory.count(ModelCapability(SEV, obstacle, "why"), 10)
    assert (slots.total, slots.source) == (0, "why")


def test_the_entry_for_nova() -> None:
    sev = capability(15)
    entry = inventory.as_nova(inventory.count(sev, None), sev)
    assert entry == {
        "total": 15,
        "min_unit": 1,
        "max_unit": 1,
        "step_size": 1,
        "reserved": 0,
        "allocation_ratio": 1.0,
        "traits": ["HW_CPU_X86_AMD_SEV"],
    }


def test_no_slots_are_novas_word_for_no_provider() -> None:
    sev = capability(15)
    assert inventory.as_nova(inventory.count(sev, 0), sev)["total"] == 0


def test_held_slots_are_all_reserved() -> None:
    entry = inventory.held(3, ModelCapability(SEV, Obstacle.PARAMETER_OFF, "lost"))
    assert (entry["total"], entry["reserved"]) == (3, 3)
    assert entry["traits"] == ["HW_CPU_X86_AMD_SEV"]
