# SPDX-License-Identifier: Apache-2.0

"""What Nova's own driver would make of a guest, and whether it may come there."""

from __future__ import annotations

import pytest

from sev_driver.guest.request import FlavorSpecs, ImageProperties, parse_request
from sev_driver.nova_release import NovaRelease

ON = {"hw:mem_encryption": "true"}
MODEL = "hw:mem_encryption_model"
OURS = {"sev:model": "amd-sev-es", "resources:MEM_ENCRYPTION_CONTEXT": "1"}
ES_TRAIT = {"trait:HW_CPU_X86_AMD_SEV_ES": "required"}
CUSTOM_SNP_TRAIT = {"trait:CUSTOM_HW_CPU_X86_AMD_SEV_SNP": "required"}
MARK = {"trait:CUSTOM_AMD_SEV_HOST": "required"}
CLEAR = "in the clear"
BY_IMAGE = {"hw_mem_encryption": "true"}
IMAGE_MODEL = "hw_mem_encryption_model"

#: Flavor, image, releases, what stock Nova makes of it, whether it is kept off there.
CASES: tuple[
    tuple[dict[str, str], dict[str, str], tuple[int, ...], str | None, bool], ...
] = (
    (ON, {}, (27, 31, 32, 34), None, False),
    ({}, BY_IMAGE, (27, 31, 32, 34), None, False),
    (ON | MARK, {}, (27, 34), None, True),
    (ON, {"trait:CUSTOM_AMD_SEV_HOST": "required"}, (27, 34), None, True),
    (ON | {"trait:CUSTOM_AMD_SEV_HOST": "forbidden"}, {}, (34,), None, False),
    (ON | {MODEL: "amd-sev-es"}, {}, (32, 33, 34), None, False),
    (ON | {MODEL: "amd-sev-snp"}, {}, (34,), None, False),
    ({}, BY_IMAGE | {IMAGE_MODEL: "amd-sev-es"}, (32, 34), None, False),
    ({}, BY_IMAGE | {IMAGE_MODEL: "amd-sev-es"}, (31,), "with AMD SEV", False),
    (OURS, {}, (27, 31, 34), CLEAR, False),
    (OURS | MARK, {}, (27, 31, 34), CLEAR, True),
    (OURS | ES_TRAIT, {}, (31,), CLEAR, True),
    (OURS | ES_TRAIT, {}, (32, 34), CLEAR, False),
    (
        OURS | CUSTOM_SNP_TRAIT | {"sev:model": "amd-sev-snp"},
        {},
        (31, 33),
        CLEAR,
        True,
    ),
    ({"sev:model": "amd-sev"}, {}, (31, 34), CLEAR, False),
    ({"sev:model": "amd-sev"}, BY_IMAGE, (31, 34), None, False),
    (ON | {"sev:model": "amd-sev-es"}, {}, (31,), "with AMD SEV", False),
    (ON | {"sev:model": "amd-sev-es"} | ES_TRAIT, {}, (31,), "with AMD SEV", True),
    (
        ON | {MODEL: "amd-sev-es", "sev:model": "amd-sev-es"},
        {},
        (32, 34),
        None,
        False,
    ),
)


@pytest.mark.parametrize(
    ("specs", "properties", "number", "outcome", "kept_off"),
    [
        (specs, properties, number, outcome, kept_off)
        for specs, properties, numbers, outcome, kept_off in CASES
        for number in numbers
    ],
)
def test_on_stock_nova(
    specs: dict[str, str],
    properties: dict[str, str],
    number: int,
    outcome: str | None,
    kept_off: bool,
) -> None:
    found = parse_request(
        FlavorSpecs("f", specs), ImageProperties("i", properties), NovaRelease(number)
    )
    assert found is not None
    assert found.on_stock_nova == outcome
    assert found.requires_sev_driver is kept_off


def test_a_guest_that_has_the_slot_of_a_flavor_of_nova_31_is_started_otherwise() -> (
    None
):
    flavor = FlavorSpecs("f", ON | {"sev:model": "amd-sev-es"})
    found = parse_request(
        flavor, ImageProperties("i", {}), NovaRelease(32), slot_already_allocated=True
    )
    assert found is not None
    assert found.on_stock_nova == "with AMD SEV"
