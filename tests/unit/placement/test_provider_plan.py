# SPDX-License-Identifier: Apache-2.0

"""provider_plan: what each provider shall have, by what was seen before."""

import dataclasses
import logging
from typing import Any

import pytest

from sev_driver.host.capabilities import HostCapabilities, ModelCapability, ObstacleKind
from sev_driver.model import HOST_TRAIT as HOST
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel
from sev_driver.placement.inventory import compute_offers, fully_reserved, record
from sev_driver.placement.provider_plan import (
    Observation,
    ProviderPlan,
    TraitChanges,
    is_in_order,
    log_line,
    models_to_count,
    needs_running_guests,
    plan,
)
from sev_driver.placement.providers import ProviderNames

ALL = frozenset(MemoryEncryptionModel)
OFF = ObstacleKind.PARAMETER_OFF
UNKNOWN = ObstacleKind.PARAMETER_UNREADABLE
CHILDREN = {model: f"node_{model.symbol}" for model in MemoryEncryptionModel}

#: What is detected of a model: its slots, or what keeps it off.
Found = int | ObstacleKind | None


def host(sev: Found = 10, es: Found = OFF, snp: Found = OFF) -> HostCapabilities:
    """SEV-ES and SEV-SNP share as many as the larger of them has."""
    each = tuple(
        ModelCapability(model, obstacle=found)
        if isinstance(found, ObstacleKind)
        else ModelCapability(model, slots=found)
        for model, found in ((SEV, sev), (SEV_ES, es), (SEV_SNP, snp))
    )
    shared = [n for n in (es, snp) if isinstance(n, int)]
    return HostCapabilities(each, max(shared, default=None))


def seen(
    capabilities: HostCapabilities,
    previous: dict[str, Any] | None = None,
    *,
    on_root: bool = False,
    is_reshape: bool = False,
    stock: frozenset[MemoryEncryptionModel] | None = None,
    **limits: int,
) -> Observation:
    by_model = {SEV_ES: limits.get("es"), SEV_SNP: limits.get("snp")}
    return Observation(
        capabilities,
        compute_offers(capabilities, by_model),
        ProviderNames("node", on_root),
        {"node": None, **(previous or {})},
        is_reshape,
        frozenset({SEV}) if on_root else stock,
    )


def planned(
    observation: Observation,
    consumers: dict[MemoryEncryptionModel, int] | None = None,
    unallocated: dict[MemoryEncryptionModel, int] | None = None,
    *,
    sets_sev_trait: bool = False,
) -> ProviderPlan:
    """Count the consumers of no more models than the plan says it needs."""
    counted = models_to_count(observation, unallocated or {})
    return plan(
        observation,
        {model: (consumers or {}).get(model, 0) for model in counted},
        unallocated or {},
        sets_sev_trait=sets_sev_trait,
    )


def inventories(plan: ProviderPlan) -> dict[str, dict[str, Any]]:
    return {
        each.provider: each.inventory
        for each in plan.models.values()
        if each.inventory is not None
    }


#: What is seen; consumers and guests without an allocation, by model; inventories.
PLANS: dict[str, tuple[Observation, dict[Any, int], dict[Any, int], dict[str, Any]]] = {
    "a new host": (seen(host()), {}, {}, {"node_amd_sev": record(10)}),
    "a host without SEV": (seen(host(OFF)), {}, {}, {}),
    "every model": (
        seen(host(10, 5, 5), es=2),
        {},
        {},
        {
            "node_amd_sev": record(10),
            "node_amd_sev_es": record(2),
            "node_amd_sev_snp": record(3),
        },
    ),
    "a guest that Nova does not manage": (
        seen(host(), {"node_amd_sev": record(10)}),
        {SEV: 3},
        {SEV: 2},
        {"node_amd_sev": record(10, reserved=2)},
    ),
    "a lost model without guests": (
        seen(host(OFF), {"node_amd_sev": record(10)}),
        {},
        {},
        {},
    ),
    "a lost model that guests hold": (
        seen(host(OFF), {"node_amd_sev": record(10)}),
        {SEV: 2},
        {},
        {"node_amd_sev": fully_reserved(2)},
    ),
    "a model that may be lost": (
        seen(host(UNKNOWN), {"node_amd_sev": record(10)}),
        {},
        {},
        {"node_amd_sev": fully_reserved(10)},
    ),
    "a model that may be lost, and that guests hold": (
        seen(host(UNKNOWN), {"node_amd_sev": record(10)}),
        {SEV: 2},
        {},
        {"node_amd_sev": fully_reserved(2)},
    ),
    "a model that is unknown and was never there": (seen(host(UNKNOWN)), {}, {}, {}),
    "guests of SEV-ES hold what SEV-SNP is offered": (
        seen(host(10, OFF, 5), {"node_amd_sev_es": record(5)}),
        {SEV_ES: 2},
        {},
        {
            "node_amd_sev": record(10),
            "node_amd_sev_es": fully_reserved(2),
            "node_amd_sev_snp": record(5, reserved=2),
        },
    ),
    "slots on the root provider": (
        seen(host(10, 5, 5), on_root=True),
        {},
        {},
        {"node": record(10)},
    ),
    "slots on the root provider, guests beside": (
        seen(host(10, 5, 5), {"node_amd_sev_es": record(5)}, on_root=True),
        {SEV_ES: 1},
        {},
        {"node": record(10), "node_amd_sev_es": fully_reserved(1)},
    ),
    "slots on the root provider, an unknown model beside": (
        seen(host(10, UNKNOWN), {"node_amd_sev_es": record(5)}, on_root=True),
        {},
        {},
        {"node": record(10)},
    ),
    "a model that Nova 33 does not know": (
        seen(host(10, 5, 5), es=2, stock=frozenset({SEV, SEV_ES})),
        {},
        {},
        {"node_amd_sev": record(10), "node_amd_sev_es": record(2)},
    ),
    "a model that Nova 33 does not know, and guests": (
        seen(host(10, 5, 5), es=2, stock=frozenset({SEV, SEV_ES})),
        {SEV_SNP: 1},
        {},
        {
            "node_amd_sev": record(10),
            "node_amd_sev_es": record(2),
            "node_amd_sev_snp": fully_reserved(1),
        },
    ),
    "more guests move in than are offered": (
        seen(host(2), {"node": record(4)}, is_reshape=True),
        {SEV: 3},
        {},
        {"node_amd_sev": record(3)},
    ),
    "guests move in where there is room": (
        seen(host(10), {"node": record(4)}, is_reshape=True),
        {SEV: 3},
        {},
        {"node_amd_sev": record(10)},
    ),
    "guests of a lost model move in": (
        seen(host(OFF), {"node": record(4)}, is_reshape=True),
        {SEV: 3},
        {},
        {"node_amd_sev": record(3)},
    ),
}


@pytest.mark.parametrize("case", PLANS)
def test_inventories(case: str) -> None:
    observation, consumers, unallocated, expected = PLANS[case]
    assert inventories(planned(observation, consumers, unallocated)) == expected


@pytest.mark.parametrize(
    ("capabilities", "offered"),
    [(host(OFF), False), (host(UNKNOWN), False), (host(), True), (host(0, 5), True)],
)
def test_running_guests_matter_where_slots_are_offered(
    capabilities: HostCapabilities, offered: bool
) -> None:
    assert needs_running_guests(seen(capabilities).offers) is offered


#: What is seen, guests without an allocation; the models whose consumers count.
COUNTED: dict[str, tuple[Observation, dict[Any, int], frozenset[Any]]] = {
    "what is offered is not counted": (seen(host(10, 5, 5), es=2), {}, frozenset()),
    "what is not offered is": (seen(host()), {}, frozenset({SEV_ES, SEV_SNP})),
    "a guest without an allocation": (seen(host()), {SEV: 1}, ALL),
    "a model that shares its pool": (
        seen(host(10, 5, 5), {"node_amd_sev_es": record(2)}, es=2),
        {},
        ALL,
    ),
    "a model that shares a pool of which nothing is offered": (
        seen(host(10), {"node_amd_sev_es": record(2)}),
        {},
        frozenset({SEV_ES, SEV_SNP}),
    ),
    "models with a pool each": (
        seen(
            HostCapabilities(
                tuple(
                    ModelCapability(model, slots=slots)
                    for model, slots in ((SEV, 10), (SEV_ES, 3), (SEV_SNP, 2))
                ),
                5,
            ),
            {"node_amd_sev_es": record(3), "node_amd_sev_snp": record(2)},
        ),
        {},
        frozenset(),
    ),
    "a reshape": (seen(host(10, 5, 5), es=2, is_reshape=True), {}, ALL),
}


@pytest.mark.parametrize("case", COUNTED)
def test_models_whose_consumers_have_to_be_known(case: str) -> None:
    observation, unallocated, expected = COUNTED[case]
    assert models_to_count(observation, unallocated) == expected


#: What is seen, and whether Nova's driver sets the trait; added and removed.
TRAITS: dict[str, tuple[Observation, bool, set[str], set[str]]] = {
    "slots are offered": (seen(host()), False, {HOST}, set()),
    "nothing is offered": (seen(host(OFF)), False, set(), {HOST}),
    "nothing is known": (seen(host(UNKNOWN)), False, set(), set()),
    "Nova's driver sets the trait": (seen(host()), True, {HOST}, {SEV.trait}),
    "the slots leave the root": (
        seen(host(), {"node": record(10)}),
        False,
        {HOST},
        {SEV.trait},
    ),
    "slots on the root": (seen(host(), on_root=True), True, {SEV.trait}, {HOST}),
    "prepared for stock Nova": (
        seen(host(10, 5), stock=frozenset({SEV, SEV_ES})),
        False,
        set(),
        {HOST},
    ),
    "prepared for stock Nova, nothing is known": (
        seen(host(UNKNOWN), stock=frozenset({SEV})),
        False,
        set(),
        {HOST},
    ),
    "on the root, SEV is lost": (
        seen(host(OFF), on_root=True),
        False,
        set(),
        {HOST, SEV.trait},
    ),
    "on the root, SEV is unknown": (
        seen(host(UNKNOWN), on_root=True),
        False,
        set(),
        {HOST},
    ),
    "on the root, only the others are there": (
        seen(host(OFF, 5), on_root=True),
        False,
        set(),
        {HOST, SEV.trait},
    ),
}


@pytest.mark.parametrize("case", TRAITS)
def test_traits_of_the_root_provider(case: str) -> None:
    observation, sets_sev_trait, add, remove = TRAITS[case]
    traits = planned(observation, sets_sev_trait=sets_sev_trait).root_traits
    assert (traits.add, traits.remove) == (add, remove)


def logged(
    observation: Observation, consumers: dict[MemoryEncryptionModel, int] | None = None
) -> list[tuple[int, str]]:
    models = planned(observation, consumers).models
    lines = (log_line(observation, model, each) for model, each in models.items())
    return [line for line in lines if line is not None]


def test_log_lines() -> None:
    had = {name: record(5) for name in CHILDREN.values()}
    assert logged(seen(host(OFF))) == []
    assert logged(seen(host(10, OFF, OFF), had)) == [
        (
            logging.INFO,
            "Resource provider node_amd_sev: 10 encryption slots, 0 of them reserved",
        ),
        (
            logging.INFO,
            "Resource provider node_amd_sev_es: encryption slots removed",
        ),
        (
            logging.INFO,
            "Resource provider node_amd_sev_snp: encryption slots removed",
        ),
    ]


def test_guests_beside_the_root_provider_are_warned_of() -> None:
    (root, (level, text)) = logged(seen(host(10, 5), on_root=True), {SEV_ES: 2})
    assert root[0] == logging.INFO
    assert level == logging.WARNING
    assert "2 encryption slots, 2 of them reserved; AMD SEV-ES is not offered" in text


@pytest.mark.parametrize(
    ("consumers", "unallocated", "expected"),
    [
        ({}, {}, True),
        ({SEV: 10}, {SEV: 0}, True),
        # As after an option was lowered.
        ({SEV: 11}, {}, False),
        # Of a model that is not offered.
        ({SEV_ES: 1}, {}, False),
        ({SEV_ES: 0}, {}, True),
        ({}, {SEV: 1}, False),
        ({SEV: 1}, {SEV_SNP: 1}, False),
    ],
)
def test_is_in_order(
    consumers: dict[MemoryEncryptionModel, int],
    unallocated: dict[MemoryEncryptionModel, int],
    expected: bool,
) -> None:
    assert is_in_order(seen(host(sev=10)), consumers, unallocated) is expected


def test_a_model_left_behind_for_stock_nova_is_in_order_once_nobody_holds_it() -> None:
    withheld = seen(host(snp=5), stock=frozenset({SEV}))
    assert not is_in_order(withheld, {SEV_SNP: 1}, {})
    assert is_in_order(withheld, {SEV_SNP: 0}, {})


SHA256 = "0123456789abcdef" * 4
NAMED = "CUSTOM_SEV_FIRMWARE_0123456789AB"


@pytest.mark.parametrize(
    ("firmware", "had", "add", "remove"),
    [
        (SHA256, set(), {NAMED}, set()),
        (SHA256, {NAMED, "CUSTOM_RACK_7"}, {NAMED}, set()),
        (SHA256, {"CUSTOM_SEV_FIRMWARE_OLD"}, {NAMED}, {"CUSTOM_SEV_FIRMWARE_OLD"}),
        (None, {NAMED, "CUSTOM_RACK_7"}, set(), {NAMED}),
    ],
    ids=["new", "same", "updated", "unknown"],
)
def test_trait_of_the_guest_firmware(
    firmware: str | None, had: set[str], add: set[str], remove: set[str]
) -> None:
    observation = dataclasses.replace(
        seen(host(10, 5, 5)), snp_firmware=firmware, snp_traits=frozenset(had)
    )
    models = planned(observation).models
    assert models[SEV_SNP].traits == TraitChanges(frozenset(add), frozenset(remove))
    assert models[SEV].traits == models[SEV_ES].traits == TraitChanges()


def test_stock_nova_finds_no_trait_of_the_guest_firmware() -> None:
    observation = dataclasses.replace(
        seen(host(10, 5, 5), stock=ALL),
        snp_firmware=SHA256,
        snp_traits=frozenset({NAMED}),
    )
    traits = planned(observation).models[SEV_SNP].traits
    assert traits == TraitChanges(remove=frozenset({NAMED}))
