# SPDX-License-Identifier: Apache-2.0

"""The number of slots of each model, by source.

libvirt, CPUID and the control group count the same ASIDs. A source may have no number.
The lowest number is used, because a guest needs its slot in all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from sev_driver.host.facts import MISC_SEV, MISC_SEV_ES, HostFacts
from sev_driver.model import MemoryEncryptionModel

KVM_AMD = "the parameters of kvm_amd"


@dataclasses.dataclass(frozen=True)
class Count:
    """A number of slots, its source, and the source's name for the number."""

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
    """The slots of each model, and those that SEV-ES and SEV-SNP share.

    Each is None if no source has a number.
    """

    sev: Count | None
    sev_es: Count | None
    sev_snp: Count | None
    shared: Count | None

    def of(self, model: MemoryEncryptionModel) -> Count | None:
        """Return the slots of one model."""
        count: Count | None = getattr(self, model.kvm_parameter)
        return count


def count_slots(facts: HostFacts) -> SlotCounts:
    """Return the slots of each model, and those that SEV-ES and SEV-SNP share."""
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
    """Return the ASIDs that the kernel keeps for SEV-SNP alone, None if it keeps none.

    This is ciphertext hiding: the parameter ciphertext_hiding_asids of kvm_amd.
    """
    # The kernel divides the ASIDs even where SEV-SNP is off (sev_hardware_setup in
    # arch/x86/kvm/svm/sev.c of Linux 6.18).
    hidden = facts.parameters.ciphertext_hiding_asids.count
    if not hidden:
        return None
    return Count(hidden, KVM_AMD, "ciphertext_hiding_asids")


def _sev(facts: HostFacts) -> Iterator[Count]:
    domain, cpuid, misc = facts.domain, facts.cpuid, facts.misc_capacity
    if domain and domain.max_guests is not None and not domain.counts_nothing:
        yield Count(domain.max_guests, "libvirt", "maxGuests")
    if cpuid and cpuid.sev_slots is not None:
        yield Count(cpuid.sev_slots, "CPUID 0x8000001F", "ECX-EDX+1")
    if MISC_SEV in misc:
        yield Count(misc[MISC_SEV], "misc.capacity", MISC_SEV)


def _is_hygon(facts: HostFacts) -> bool:
    processor = facts.system.processor
    return facts.vendor == "Hygon" or (processor is not None and processor.is_hygon)


def _shared(facts: HostFacts) -> Iterator[Count]:
    domain, cpuid, misc = facts.domain, facts.cpuid, facts.misc_capacity
    if _is_hygon(facts):
        # Hygon's CSV2 takes any ASID: EDX-1, from which libvirt computes, too, is
        # AMD's rule alone.
        domain = cpuid = None
    if domain and domain.max_es_guests is not None and not domain.counts_nothing:
        yield Count(domain.max_es_guests, "libvirt", "maxESGuests")
    if cpuid and cpuid.shared_slots is not None:
        yield Count(cpuid.shared_slots, "CPUID 0x8000001F", "EDX-1")
    if MISC_SEV_ES in misc:
        yield Count(misc[MISC_SEV_ES], "misc.capacity", MISC_SEV_ES)


def _least(counts: Iterator[Count]) -> Count | None:
    # Of equal numbers, the first is reported: libvirt's, which Nova uses as well.
    return min(counts, key=lambda each: each.number, default=None)
