# SPDX-License-Identifier: Apache-2.0

"""model: the names that Nova, Placement and people use."""

import os_traits
import pytest

from sev_driver.model import MemoryEncryptionModel


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


def test_the_sev_trait_is_a_standard_one() -> None:
    assert MemoryEncryptionModel.AMD_SEV.trait in os_traits.get_traits()
