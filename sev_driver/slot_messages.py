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


"""What nova-compute's log says of slots while it runs."""

from __future__ import annotations

from sev_driver.model import MemoryEncryptionModel


def stranger(uuid: str) -> str:
    return (
        f"Domain {uuid} runs encrypted and is not Nova's: it takes a slot for as long "
        f"as it runs."
    )


def allocation_lost(uuid: str) -> str:
    return (
        f"Server {uuid} runs encrypted and holds a slot, but Placement has no "
        f"allocation of it: the slot is reserved. Shelve and unshelve the server to "
        f"have the allocation made anew."
    )


def unseen(plain: int, others: int) -> str:
    """:param others: guests of SEV-ES and SEV-SNP, which the kernel counts as one."""
    return (
        f"Beyond libvirt's guests, the kernel counts {plain} of AMD SEV, and {others} "
        f"of AMD SEV-ES and AMD SEV-SNP: they take slots for as long as they run."
    )


def unread_domain(uuid: str, error: Exception) -> str:
    return (
        f"Whether domain {uuid} is encrypted cannot be told, nor whether it holds a "
        f"slot: {error}. It is looked at again with the next update."
    )


def held_beside_root(model: MemoryEncryptionModel) -> str:
    return (
        f"{model.title} is not offered ([sev] slots_on_root_provider), but guests hold "
        f"its slots: Nova 31 and older would start them with AMD SEV. Delete or "
        f"resize them before this host goes back to it"
    )
