# SPDX-License-Identifier: Apache-2.0

"""model: the names that Nova, Placement and people use."""

import os_traits
import pytest

from sev_driver.model import AnyModel, ForeignModel, MemoryEncryptionModel, is_weaker


@pytest.mark.parametrize(
    ("value", "title", "symbol", "trait"),
    [
        ("amd-sev", "AMD SEV", "amd_sev", "HW_CPU_X86_AMD_SEV"),
        ("amd-sev-es", "AMD SEV-ES", "amd_sev_es", "HW_CPU_X86_AMD_SEV_ES"),
        ("amd-sev-snp", "AMD SEV-SNP", "amd_sev_snp", "HW_CPU_X86_AMD_SEV_SNP"),
    ],
)
def test_names(value: str, title: str, symbol: str, trait: str) -> None:
    model = MemoryEncryptionModel(value)
    assert (model.title, model.symbol, model.trait) == (title, symbol, trait)


SEV, ES, SNP = MemoryEncryptionModel
TDX = ForeignModel.INTEL_TDX


@pytest.mark.parametrize(
    ("model", "other", "weaker"),
    [
        (None, SEV, True),
        (SEV, SEV, False),
        (SEV, ES, True),
        (SEV, SNP, True),
        (ES, SNP, True),
        (SNP, ES, False),
        (SNP, TDX, True),
        (TDX, SEV, True),
        (TDX, TDX, False),
        (None, TDX, True),
    ],
)
def test_weaker_model(model: AnyModel | None, other: AnyModel, weaker: bool) -> None:
    assert is_weaker(model, other) is weaker


def test_the_sev_trait_is_a_standard_one() -> None:
    assert MemoryEncryptionModel.AMD_SEV.trait in os_traits.get_traits()
