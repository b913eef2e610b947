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

"""Which resource provider has the slots of which model."""

from __future__ import annotations

import dataclasses

from sev_driver.model import SEV, MemoryEncryptionModel


@dataclasses.dataclass(frozen=True)
class ProviderNames:
    """:param node: the name of the host's own provider.
    :param on_root: [sev] slots_on_root_provider.
    """

    node: str
    on_root: bool

    def child(self, model: MemoryEncryptionModel) -> str:
        return f"{self.node}_{model.symbol}"

    def place(self, model: MemoryEncryptionModel) -> str:
        """Return the name of the provider where the model's slots belong."""
        return self.node if self.on_root and model is SEV else self.child(model)

    @property
    def leaving(self) -> str:
        """The name of the provider that is to have no slots of plain SEV."""
        return self.child(SEV) if self.on_root else self.node

    def without(self, model: MemoryEncryptionModel) -> bool:
        """Nova 31 and older has one pool on the host's provider: that of SEV."""
        return self.on_root and model is not SEV
