# SPDX-License-Identifier: Apache-2.0


"""provider_names: where the slots of each model belong."""

from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement.providers import ProviderNames

SEV, ES, SNP = MemoryEncryptionModel


def test_each_model_has_a_child_of_the_hosts() -> None:
    names = ProviderNames("node1", on_root=False)
    assert [names.provider_for(model) for model in MemoryEncryptionModel] == [
        "node1_amd_sev",
        "node1_amd_sev_es",
        "node1_amd_sev_snp",
    ]
    assert names.stale_provider == "node1"


def test_nova_31_has_one_pool_on_the_hosts_own_provider() -> None:
    names = ProviderNames("node1", on_root=True)
    assert names.provider_for(SEV) == "node1"
    assert names.stale_provider == names.child(SEV) == "node1_amd_sev"
