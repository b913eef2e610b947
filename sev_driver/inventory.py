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

"""How many slots Placement is told of, and in which terms."""

import dataclasses

from sev_driver.capabilities import ModelCapability

#: What stock Nova reports where nothing tells the number of slots: the guide's
#: default of None, "no limit", in the largest number that Placement stores.
UNLIMITED = 0x7FFFFFFF


@dataclasses.dataclass(frozen=True)
class Slots:
    """The slots to offer, where the number comes from, and what is odd about it."""

    total: int
    source: str
    warning: str | None = None


def count(capability: ModelCapability, cap: int | None) -> Slots:
    """Return the slots of one model.

    :param cap: the operator's limit, None where there is none. It can lower the
        number that was detected, never raise it.
    """
    if not capability.supported:
        return Slots(0, capability.reason)
    detected = capability.slots
    option = "[libvirt] num_memory_encrypted_guests"
    if detected is None:
        if cap is not None:
            return Slots(cap, option)
        source = f"no limit: {capability.slots_source}, {option} is unset"
        return Slots(UNLIMITED, source)
    if cap is None or cap == detected:
        return Slots(detected, capability.slots_source)
    if cap < detected:
        return Slots(cap, f"{option}, below the {detected} that were detected")
    return Slots(
        detected,
        capability.slots_source,
        f"{option} is {cap}, but this host has {detected} slots "
        f"({capability.slots_source}); {detected} are offered. Lower the option.",
    )


def entry(total: int, reserved: int = 0) -> dict[str, object]:
    """Return an inventory in Placement's terms; a guest takes exactly one slot."""
    return {
        "total": total,
        "min_unit": 1,
        "max_unit": 1,
        "step_size": 1,
        "reserved": reserved,
        "allocation_ratio": 1.0,
    }


def as_nova(slots: Slots, capability: ModelCapability) -> dict[str, object]:
    """Return the entry that Nova 32 and later makes a child provider of.

    A total of 0 is Nova's word for "no such provider".
    """
    if not slots.total:
        return entry(0)
    return entry(slots.total) | {"traits": [capability.model.trait]}


def held(count: int, capability: ModelCapability) -> dict[str, object]:
    """Return the entry of a model that has no slots left to offer but holds some.

    Placement does not let go of a provider whose slots are allocated: it stays,
    with all that it has reserved, until the guests are gone.
    """
    return entry(count, reserved=count) | {"traits": [capability.model.trait]}
