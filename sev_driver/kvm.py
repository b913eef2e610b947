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
"""The kinds of guest that /dev/kvm offers: KVM_CAP_VM_TYPES."""

from __future__ import annotations

import dataclasses
from typing import Final

from sev_driver.model import MemoryEncryptionModel

#: KVM_CHECK_EXTENSION, and what is asked for with it.
CHECK_EXTENSION: Final = 0xAE03
CAP_VM_TYPES: Final = 235

#: KVM_GET_API_VERSION, and the only answer of a KVM that is one.
GET_API_VERSION: Final = 0xAE00
API_VERSION: Final = 12

_BITS: Final = {
    MemoryEncryptionModel.AMD_SEV: 1 << 2,
    MemoryEncryptionModel.AMD_SEV_ES: 1 << 3,
    MemoryEncryptionModel.AMD_SEV_SNP: 1 << 4,
}


@dataclasses.dataclass(frozen=True)
class VmTypes:
    """A bit for each kind of guest, as the kernel numbers them.

    Kernels older than 6.10 have no bit for SEV even where it works, and a KVM that
    is itself a guest offers none: where none of ours is set, nothing is said.
    """

    bits: int

    @property
    def tells(self) -> bool:
        return any(self.bits & bit for bit in _BITS.values())

    def offers(self, model: MemoryEncryptionModel) -> bool | None:
        """Whether a guest of ``model`` can be made; None where nothing is said."""
        return bool(self.bits & _BITS[model]) if self.tells else None
