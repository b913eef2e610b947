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
"""From the facts of a host to what it can encrypt.

For each model the first obstacle is told, in the order of cause: what is true
of the whole host, the kernel, the secure processor, libvirt and QEMU, the slots,
the firmware of guests. A source that knows nothing raises no obstacle.
"""

from __future__ import annotations

from collections.abc import Callable

from sev_driver import kernel_obstacles, slot_counts
from sev_driver.capabilities import (
    Hindrance,
    HostCapabilities,
    ModelCapability,
    Obstacle,
)
from sev_driver.facts import HostFacts, Version, version_text
from sev_driver.firmware import FEATURES
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel

_VIRT_TYPES = ("kvm", "qemu")
_AMD = ("AMD", "Hygon")

#: Where libvirtd keeps what it found of each QEMU (virQEMUCaps, since 1.2).
CACHE = "/var/cache/libvirt/qemu/capabilities"

_QEMU_FOR_ES: Version = (6, 0, 0)
_QEMU_FOR_SNP: Version = (9, 1, 0)
_LIBVIRT_FOR_SNP: Version = (10, 5, 0)


def conclude(facts: HostFacts) -> HostCapabilities:
    """Return what the host offers, for each model."""
    capabilities = tuple(_conclude(model, facts) for model in MemoryEncryptionModel)
    shared = slot_counts.count(facts).shared
    return HostCapabilities(
        capabilities, None if shared is None else max(shared.number, 0)
    )


def _conclude(model: MemoryEncryptionModel, facts: HostFacts) -> ModelCapability:
    for look in _LOOKS:
        hindrance = look(model, facts)
        if hindrance is not None:
            return ModelCapability(model, *hindrance)
    count = slot_counts.count(facts).of(model)
    if count is None:
        return ModelCapability(
            model, slots_source="libvirt older than 8.0 gives no number"
        )
    return ModelCapability(model, slots=count.number, slots_source=count.source)


def _virt_type(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    if facts.virt_type in _VIRT_TYPES:
        return None
    found = f"[libvirt] virt_type is {facts.virt_type}"
    return Hindrance(Obstacle.VIRT_TYPE, found, "set it to kvm or qemu")


def _processor(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    processor = facts.arch
    if processor == "x86_64":
        # A vendor explains a missing parameter; it overrules none that is there.
        absent = facts.parameters.sev.text is None and not facts.parameters.sev.error
        if not absent or not facts.vendor or facts.vendor in _AMD:
            return None
        processor = f"{facts.vendor}'s"
    found = f"the processor is {processor}"
    return Hindrance(Obstacle.ARCH, found, "use an AMD EPYC")


def _libvirt(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    if facts.domain is None:
        found = f"libvirt's domain capabilities cannot be read: {facts.domain_error}"
        return Hindrance(Obstacle.CAPABILITIES_UNREADABLE, found, "see libvirtd's log")
    if facts.domain.sev:
        return None
    found = "libvirt reports sev supported='no' though the kernel has it on"
    access = f" ({facts.device.access})" if facts.device.access else ""
    # libvirt keeps what QEMU told across restarts of its own.
    remedy = (
        f"see that QEMU can open /dev/sev{access}, then remove {CACHE} and restart "
        "libvirtd"
    )
    return Hindrance(Obstacle.LIBVIRT_SAYS_NO, found, remedy)


def _versions(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    qemu, libvirt = facts.versions.qemu, facts.versions.libvirt
    if model is SEV_ES and qemu is not None and qemu < _QEMU_FOR_ES:
        return _too_old(("QEMU", qemu, _QEMU_FOR_ES))
    if model is not SEV_SNP or facts.domain is None:
        return None
    # A libvirt that lists the type is new enough, whatever it calls itself: a
    # version only explains why it does not.
    sectypes = facts.domain.sectypes
    if sectypes is not None and "sev-snp" in sectypes:
        return None
    old = [
        (name, version, needed)
        for name, version, needed in (
            ("libvirt", libvirt, _LIBVIRT_FOR_SNP),
            ("QEMU", qemu, _QEMU_FOR_SNP),
        )
        if version is not None and version < needed
    ]
    if old:
        return _too_old(*old)
    listed = " and ".join(sorted(sectypes or ())) or "none"
    found = f"libvirt lists no launchSecurity type sev-snp (but {listed})"
    remedy = "see that QEMU has the object sev-snp-guest, then restart libvirtd"
    return Hindrance(Obstacle.TYPE_MISSING, found, remedy)


def _too_old(*programs: tuple[str, Version, Version]) -> Hindrance:
    needed = " and ".join(f"{name} {version_text(n)}" for name, _, n in programs)
    found = " and ".join(f"{name} {version_text(v)}" for name, v, _ in programs)
    reason = f"it needs {needed}, and this host has {found}"
    return Hindrance(Obstacle.VERSION_TOO_OLD, reason, "upgrade")


def _slots(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    count = slot_counts.count(facts).of(model)
    if count is None:
        if facts.domain is None or not facts.domain.counts_nothing:
            return None
        found = "libvirt counts no slot at all (maxGuests=0, maxESGuests=0)"
        remedy = "see that libvirtd can read CPUID 0x8000001F, then restart it"
        return Hindrance(Obstacle.SLOTS_UNREADABLE, found, remedy)
    if count.number > 0:
        return None
    if count.who == slot_counts.KVM_AMD:
        found = "the kernel keeps every ASID that they share for SEV-SNP"
        remedy = "load kvm_amd with a lower ciphertext_hiding_asids"
        return Hindrance(Obstacle.NO_SLOTS, found, remedy)
    # The bounds of the ASIDs in CPUID 0x8000001F: a firmware set-up can give every
    # one to SEV-ES, or none, and what is counted may also wrap below zero.
    found = f"{count.who} counts no slot for it ({count.name}={count.number})"
    change = "lower" if model is SEV else "raise"
    remedy = f"{change} the number of SEV-ES ASIDs in the firmware set-up"
    return Hindrance(Obstacle.NO_SLOTS, found, remedy)


def _firmware(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    """Nothing is asked for plain SEV: every OVMF that is still in use can do it."""
    if model is SEV or facts.firmware is None:
        return None
    loaders = facts.domain.loaders if facts.domain else None
    if facts.firmware.offers(model, loaders) is not False:
        return None
    folders = " or ".join(facts.firmware.folders)
    found = f"no firmware descriptor in {folders} has {FEATURES[model]}"
    remedy = "install OVMF built for it, or write its descriptor"
    return Hindrance(Obstacle.NO_FIRMWARE, found, remedy)


_LOOKS: tuple[Callable[[MemoryEncryptionModel, HostFacts], Hindrance | None], ...] = (
    _virt_type,
    _processor,
    kernel_obstacles.parameter,
    kernel_obstacles.device,
    _libvirt,
    kernel_obstacles.beside_snp,
    _versions,
    _slots,
    kernel_obstacles.kvm,
    _firmware,
)
