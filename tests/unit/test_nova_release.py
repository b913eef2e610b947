# SPDX-License-Identifier: Apache-2.0

"""nova_release: what differs between releases, as the release notes have it."""

import pytest

from sev_driver import nova_release
from sev_driver.model import SEV, SEV_ES, SEV_SNP, ForeignModel
from sev_driver.nova_release import NovaRelease, releases_with_compute_api


@pytest.mark.parametrize(
    ("number", "chooses", "selects", "stateless"),
    [
        (27, False, True, False),
        (29, False, True, False),
        (30, False, True, True),
        (31, False, True, True),
        (32, True, True, True),
        (33, True, False, True),
        (34, True, False, True),
    ],
)
def test_scheduler_and_firmware_of_a_release(
    number: int, chooses: bool, selects: bool, stateless: bool
) -> None:
    release = NovaRelease(number)
    assert release.scheduler_chooses_model is chooses
    assert release.selects_firmware is selects
    assert release.requires_stateless_firmware_trait is stateless


@pytest.mark.parametrize(
    ("number", "images", "traits"),
    [
        # An API that does not know the property takes any value of it.
        (27, {SEV, SEV_ES, SEV_SNP}, {SEV}),
        (31, {SEV, SEV_ES, SEV_SNP}, {SEV, SEV_ES}),
        (32, {SEV, SEV_ES}, {SEV, SEV_ES}),
        (33, {SEV, SEV_ES}, {SEV, SEV_ES}),
        (34, {SEV, SEV_ES, SEV_SNP}, {SEV, SEV_ES, SEV_SNP}),
    ],
)
def test_models_that_api_and_os_traits_know(
    number: int, images: set[object], traits: set[object]
) -> None:
    release = NovaRelease(number)
    models = (SEV, SEV_ES, SEV_SNP)
    assert {m for m in models if release.accepts_image_model(m)} == images
    assert {m for m in models if release.has_standard_trait(m)} == traits


def test_models_read_from_nova_overrule_those_known_of_its_release() -> None:
    assert NovaRelease(33).foreign_models == frozenset()
    assert NovaRelease(34).foreign_models == {ForeignModel.INTEL_TDX}
    newer = NovaRelease(35, frozenset({"amd-sev", "arm-cca"}))
    assert newer.foreign_models == frozenset(), "it could not be verified"


@pytest.mark.parametrize(("number", "ignored"), [(32, {SEV_ES, SEV_SNP}), (33, set())])
def test_models_that_firmware_selection_ignores(
    number: int, ignored: set[object]
) -> None:
    selected = NovaRelease(number).ignores_model_in_firmware_selection
    assert {model for model in (SEV, SEV_ES, SEV_SNP) if selected(model)} == ignored


@pytest.mark.parametrize(("number", "supported"), [(26, False), (27, True), (35, True)])
def test_oldest_release_that_is_supported(number: int, supported: bool) -> None:
    assert NovaRelease(number).is_supported is supported


@pytest.mark.parametrize(
    ("minor", "releases"),
    [(93, (27, 28)), (96, (29, 30)), (100, (31, 32)), (103, (33,)), (110, (34,))],
)
def test_releases_of_an_api_version(minor: int, releases: tuple[int, ...]) -> None:
    assert releases_with_compute_api(minor) == releases


@pytest.mark.parametrize(
    ("value", "releases"),
    [
        ("amd-sev", ()),
        ("amd-sev-es", ()),
        ("amd-sev-snp", (32, 33)),
        ("intel-tdx", (32, 33)),
        ("amd-sve", (32, 33, 34)),
    ],
)
def test_image_models_that_a_release_cannot_read(
    value: str, releases: tuple[int, ...]
) -> None:
    assert nova_release.releases_that_cannot_read(value) == releases
