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


"""provider_names: where the slots of each model belong."""

from sev_driver.model import MemoryEncryptionModel
from sev_driver.provider_names import ProviderNames

SEV, ES, SNP = MemoryEncryptionModel


def test_each_model_has_a_child_of_the_hosts() -> None:
    names = ProviderNames("node1", on_root=False)
    assert [names.place(model) for model in MemoryEncryptionModel] == [
        "node1_amd_sev",
        "node1_amd_sev_es",
        "node1_amd_sev_snp",
    ]
    assert names.leaving == "node1"
    assert not any(names.without(model) for model in MemoryEncryptionModel)


def test_nova_31_has_one_pool_on_the_hosts_own_provider() -> None:
    names = ProviderNames("node1", on_root=True)
    assert names.place(SEV) == "node1"
    assert names.leaving == names.child(SEV) == "node1_amd_sev"
    assert [names.without(model) for model in (SEV, ES, SNP)] == [False, True, True]
