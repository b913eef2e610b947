# SPDX-License-Identifier: Apache-2.0

"""A model of another vendor: asked for, agreed on, and refused where it is not."""

from __future__ import annotations

import pytest

from sev_driver.exceptions import Fault
from sev_driver.guest.request import (
    FlavorSpecs,
    ImageProperties,
    parse_foreign_request,
    parse_request,
)
from sev_driver.guest.requirements import ForeignRequest, check_foreign
from sev_driver.model import ForeignModel
from sev_driver.nova_release import NovaRelease

TDX = ForeignModel.INTEL_TDX
NOVA_34, NOVA_33 = NovaRelease(34), NovaRelease(33)
ASKS = {"hw:mem_encryption": "true"}
BY_FLAVOR = ASKS | {"hw:mem_encryption_model": "intel-tdx"}
BY_IMAGE = {"hw_mem_encryption": "true", "hw_mem_encryption_model": "intel-tdx"}


def ask(
    specs: dict[str, str],
    properties: dict[str, str],
    release: NovaRelease = NOVA_34,
) -> tuple[ForeignRequest | None, object]:
    """Return what is asked for of another vendor, and of AMD."""
    flavor, image = FlavorSpecs("m1", specs), ImageProperties("image 1", properties)
    return (
        parse_foreign_request(flavor, image, release),
        parse_request(flavor, image, release),
    )


@pytest.mark.parametrize(
    ("specs", "properties"),
    [
        (BY_FLAVOR, {}),
        ({}, BY_IMAGE),
        (BY_FLAVOR, BY_IMAGE),
        (ASKS, {"hw_mem_encryption_model": "intel-tdx"}),
        ({"hw:mem_encryption_model": "intel-tdx"}, {"hw_mem_encryption": "yes"}),
    ],
)
def test_foreign_model_is_asked_for(
    specs: dict[str, str], properties: dict[str, str]
) -> None:
    foreign, ours = ask(specs, properties)
    assert ours is None
    assert foreign is not None and foreign.model is TDX and foreign.conflict is None


@pytest.mark.parametrize(
    ("specs", "properties"),
    [
        ({}, {}),
        ({"hw:mem_encryption_model": "intel-tdx"}, {}),
        ({}, {"hw_mem_encryption_model": "intel-tdx"}),
        ({}, BY_IMAGE | {"hw_mem_encryption": "false"}),
    ],
)
def test_name_alone_asks_for_nothing(
    specs: dict[str, str], properties: dict[str, str]
) -> None:
    assert ask(specs, properties) == (None, None)


@pytest.mark.parametrize(
    ("specs", "properties", "conflict"),
    [
        (
            ASKS | {"hw:mem_encryption_model": "amd-sev"},
            BY_IMAGE,
            "flavor m1 has hw:mem_encryption_model=amd-sev and image 1 has "
            "hw_mem_encryption_model=intel-tdx",
        ),
        (
            BY_FLAVOR | {"trait:HW_CPU_X86_AMD_SEV": "required"},
            {},
            "flavor m1 has hw:mem_encryption_model=intel-tdx and "
            "trait:HW_CPU_X86_AMD_SEV=required",
        ),
        (
            BY_FLAVOR,
            {"hw_mem_encryption": "false"},
            "hw_mem_encryption of image 1 denies it",
        ),
    ],
)
def test_disagreement_is_named(
    specs: dict[str, str], properties: dict[str, str], conflict: str
) -> None:
    foreign, _ = ask(specs, properties)
    assert foreign is not None and foreign.conflict == conflict
    (violation,) = check_foreign(foreign, supported=True)
    assert violation.fault is Fault.REQUEST


@pytest.mark.parametrize(
    ("specs", "release"),
    [
        (BY_FLAVOR, NOVA_33),
        (BY_FLAVOR | {"sev:model": "amd-sev"}, NOVA_34),
        (ASKS | {"hw:mem_encryption_model": "arm-cca"}, NOVA_34),
    ],
)
def test_model_that_nova_does_not_run_is_a_mistake(
    specs: dict[str, str], release: NovaRelease
) -> None:
    foreign, ours = ask(specs, {}, release)
    assert foreign is None
    assert "no model of AMD SEV" in ours.conflict  # type: ignore[attr-defined]


def test_host_without_the_model_sends_a_build_on() -> None:
    request = ForeignRequest(TDX, ("hw:mem_encryption of flavor m1",))
    assert check_foreign(request, supported=True) == ()
    (violation,) = check_foreign(request, supported=False)
    assert violation.fault is Fault.HOST
    assert str(violation) == (
        "hw:mem_encryption of flavor m1 asks for Intel TDX, but Nova finds no Intel "
        "TDX on this host: use a host that has it."
    )
