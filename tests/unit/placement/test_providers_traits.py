# SPDX-License-Identifier: Apache-2.0


import os_traits
import pytest

from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import providers


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_the_real_trait_where_it_exists_and_a_custom_one_elsewhere(
    model: MemoryEncryptionModel,
) -> None:
    real = f"HW_CPU_X86_{model.symbol.upper()}"
    custom = f"CUSTOM_{real}"
    assert providers.choose(model, True) == providers.Choice(real, custom)
    assert providers.choose(model, False) == providers.Choice(custom, real)


def test_an_os_traits_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os_traits, "HW_CPU_X86_AMD_SEV_SNP", raising=False)
    assert not providers.is_standard(MemoryEncryptionModel.AMD_SEV_SNP)
    assert providers.is_standard(MemoryEncryptionModel.AMD_SEV)
