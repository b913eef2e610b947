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
"""How many guests of each model fit, by every source that counts them.

libvirt, CPUID and the control group count the same ASIDs. Each may know nothing,
and then says nothing here; of those that know, the least one is the truth, since
a slot that one of them lacks cannot be used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from sev_driver import misc_cgroup
from sev_driver.facts import HostFacts
from sev_driver.model import MemoryEncryptionModel

KVM_AMD = "the parameters of kvm_amd"


@dataclasses.dataclass(frozen=True)
class Count:
    """A number of slots: who counts them, and under which name."""

    number: int
    who: str
    name: str

    @property
    def source(self) -> str:
        if self.who == "libvirt":
            return f"{self.name} in libvirt's domain capabilities"
        return f"{self.name} in {self.who}"


@dataclasses.dataclass(frozen=True)
class SlotCounts:
    """None where no source tells; ``shared`` is SEV-ES's and SEV-SNP's together."""

    sev: Count | None
    sev_es: Count | None
    sev_snp: Count | None
    shared: Count | None

    def of(self, model: MemoryEncryptionModel) -> Count | None:
        return {
            MemoryEncryptionModel.AMD_SEV: self.sev,
            MemoryEncryptionModel.AMD_SEV_ES: self.sev_es,
            MemoryEncryptionModel.AMD_SEV_SNP: self.sev_snp,
        }[model]


def count(facts: HostFacts) -> SlotCounts:
    sev, shared = _least(_sev(facts)), _least(_shared(facts))
    hidden = snp_alone(facts)
    if hidden is None or (shared and shared.number <= 0):
        return SlotCounts(sev, shared, shared, shared)
    if shared is None:
        return SlotCounts(sev, None, hidden, None)
    snp = min(hidden.number, shared.number)
    return SlotCounts(
        sev,
        dataclasses.replace(
            hidden,
            number=shared.number - snp,
            name=f"what ciphertext_hiding_asids leaves of {shared.name}",
        ),
        dataclasses.replace(hidden, number=snp),
        shared,
    )


def snp_alone(facts: HostFacts) -> Count | None:
    """Return the ASIDs that the kernel keeps for SEV-SNP; None where it does not."""
    parameters = facts.parameters
    hidden = parameters.ciphertext_hiding_asids.count
    if not hidden or not parameters.sev_snp.enabled:
        return None
    return Count(hidden, KVM_AMD, "ciphertext_hiding_asids")


def _sev(facts: HostFacts) -> Iterator[Count]:
    domain, cpuid, misc = facts.domain, facts.cpuid, facts.misc_capacity
    if domain and domain.max_guests is not None and not domain.counts_nothing:
        yield Count(domain.max_guests, "libvirt", "maxGuests")
    if cpuid and cpuid.sev_slots is not None:
        yield Count(cpuid.sev_slots, "CPUID 0x8000001F", "ECX-EDX+1")
    if misc_cgroup.SEV in misc:
        yield Count(misc[misc_cgroup.SEV], "misc.capacity", misc_cgroup.SEV)


def _shared(facts: HostFacts) -> Iterator[Count]:
    domain, cpuid, misc = facts.domain, facts.cpuid, facts.misc_capacity
    if domain and domain.max_es_guests is not None and not domain.counts_nothing:
        yield Count(domain.max_es_guests, "libvirt", "maxESGuests")
    if cpuid and cpuid.shared_slots is not None:
        yield Count(cpuid.shared_slots, "CPUID 0x8000001F", "EDX-1")
    if misc_cgroup.SEV_ES in misc:
        yield Count(misc[misc_cgroup.SEV_ES], "misc.capacity", misc_cgroup.SEV_ES)


def _least(counts: Iterator[Count]) -> Count | None:
    # The first of equals: libvirt's, which stock Nova goes by.
    return min(counts, key=lambda each: each.number, default=None)
