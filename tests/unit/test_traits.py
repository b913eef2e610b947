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


import os_traits
import pytest

from sev_driver import traits
from sev_driver.model import MemoryEncryptionModel


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_the_real_trait_where_it_exists_and_a_custom_one_elsewhere(
    model: MemoryEncryptionModel,
) -> None:
    real = f"HW_CPU_X86_{model.symbol.upper()}"
    custom = f"CUSTOM_{real}"
    assert traits.choose(model, True) == traits.Choice(real, custom)
    assert traits.choose(model, False) == traits.Choice(custom, real)


def test_an_os_traits_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os_traits, "HW_CPU_X86_AMD_SEV_SNP", raising=False)
    assert not traits.is_standard(MemoryEncryptionModel.AMD_SEV_SNP)
    assert traits.is_standard(MemoryEncryptionModel.AMD_SEV)
