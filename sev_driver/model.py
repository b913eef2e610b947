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

"""The ways in which AMD hardware encrypts a guest's memory."""

from __future__ import annotations

import enum

import os_traits


class MemoryEncryptionModel(enum.Enum):
    """One generation of AMD SEV; the values are Nova's own (since 32.0.0)."""

    AMD_SEV = "amd-sev"
    AMD_SEV_ES = "amd-sev-es"
    AMD_SEV_SNP = "amd-sev-snp"

    @property
    def title(self) -> str:
        """The name that people use, such as ``AMD SEV-ES``."""
        return "AMD " + self.value.removeprefix("amd-").upper()

    @property
    def symbol(self) -> str:
        """What stock Nova appends to a provider's name, such as ``amd_sev``."""
        return self.value.replace("-", "_")

    @property
    def trait(self) -> str:
        """The standard trait of hosts that offer this model (os-traits)."""
        name = f"HW_CPU_X86_{self.symbol.upper()}"
        return str(getattr(os_traits, name, name))


SEV = MemoryEncryptionModel.AMD_SEV
SEV_ES = MemoryEncryptionModel.AMD_SEV_ES
SEV_SNP = MemoryEncryptionModel.AMD_SEV_SNP
