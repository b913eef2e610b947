# SPDX-License-Identifier: Apache-2.0

"""new_host: what Placement's answers say of the host that a guest moves to."""

import types
from typing import Any

import pytest

from sev_driver.compute import new_host
from sev_driver.model import HOST_TRAIT
from sev_driver.placement import inventory
from sev_driver.placement.inventory import Record

CPU = {"resources": {"VCPU": 2}}
SLOT = {"resources": {"MEM_ENCRYPTION_CONTEXT": 1}}
DISK = {"resources": {"DISK_GB": 1}}
LOST, OFFERED = inventory.fully_reserved(1), inventory.record(15, 3)


class Placement:
    """Stands in for Nova's client: the root's traits, and each provider's slots."""

    def __init__(self, *traits: str, **slots: Record) -> None:
        self.traits = frozenset(traits)
        self.slots = slots

    def get_providers_in_tree(self, context: Any, uuid: str) -> list[dict[str, str]]:
        root = "shared" if uuid == "shared" else "root"
        return [{"uuid": uuid, "root_provider_uuid": root}]

    def get_provider_traits(self, context: Any, uuid: str) -> Any:
        return types.SimpleNamespace(traits=self.traits if uuid == "root" else ())

    def get(self, url: str) -> Any:
        _, resource, uuid, *rest = url.split("/")
        assert [resource, *rest] == [
            "resource_providers",
            "inventories",
            "MEM_ENCRYPTION_CONTEXT",
        ]
        return types.SimpleNamespace(json=lambda: self.slots[uuid])


class Silent:
    """Nova's client of a Placement that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise ConnectionError("Placement is down")


@pytest.mark.parametrize(
    ("held", "traits", "lacks"),
    [
        ({"root": CPU, "sev": SLOT}, {HOST_TRAIT}, False),
        ({"root": CPU, "sev": SLOT}, {"HW_CPU_X86_SEV"}, True),
        # A provider of disks that hosts share comes first.
        ({"shared": DISK, "root": CPU, "sev": SLOT}, {HOST_TRAIT}, False),
        # A flavor that asks for no slot.
        ({"root": CPU}, {HOST_TRAIT}, False),
        ({"root": CPU}, set(), True),
    ],
)
def test_the_root_providers_trait_tells_the_driver(
    held: dict[str, Any], traits: set[str], lacks: bool
) -> None:
    assert new_host.lacks_driver(Placement(*traits), None, held) is lacks


@pytest.mark.parametrize(
    ("held", "slots", "lost"),
    [
        ({"root": CPU, "sev": SLOT}, {"sev": LOST}, True),
        ({"root": CPU, "sev": SLOT}, {"sev": OFFERED}, False),
        # A flavor can ask for slots of two models, by numbered groups.
        ({"sev": SLOT, "es": SLOT}, {"sev": OFFERED, "es": LOST}, True),
        ({"sev": SLOT, "es": SLOT}, {"sev": OFFERED, "es": OFFERED}, False),
        ({"root": CPU}, {}, False),
    ],
)
def test_lost_slots_are_all_reserved(
    held: dict[str, Any], slots: dict[str, Record], lost: bool
) -> None:
    assert new_host.has_lost_slots(Placement(**slots), held) is lost


def test_without_an_answer_the_driver_is_unknown() -> None:
    assert new_host.lacks_driver(Silent(), None, {"sev": SLOT}) is None
    assert new_host.has_lost_slots(Silent(), {"sev": SLOT}) is False
