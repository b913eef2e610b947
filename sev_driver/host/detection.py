# SPDX-License-Identifier: Apache-2.0

"""Detect which models a host supports, from its facts.

Each rule checks one obstacle. The first obstacle of a model is reported, in the order
of cause: the host as a whole, the kernel, the secure processor, libvirt and QEMU, the
slots, the guest firmware. A fact that is unknown is no obstacle, unless it is required.
"""

from __future__ import annotations

from collections.abc import Callable

from sev_driver.host import kernel_log, kernel_rules, slot_counts
from sev_driver.host.capabilities import (
    HostCapabilities,
    ModelCapability,
    Obstacle,
    ObstacleKind,
)
from sev_driver.host.facts import (
    VIRT_TYPES,
    HostFacts,
    Version,
    version_text,
)
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel

#: Where libvirtd caches the capabilities of each QEMU (virQEMUCaps, since 1.2).
CACHE = "/var/cache/libvirt/qemu/capabilities"

_QEMU_FOR_ES: Version = (6, 0, 0)
_QEMU_FOR_SNP: Version = (9, 1, 0)
_LIBVIRT_FOR_SNP: Version = (10, 5, 0)
#: QEMU 9.1 ends with "Cannot set discarding of RAM broken" (QEMU's ChangeLog/9.2).
_QEMU_FOR_SNP_WITH_PCI: Version = (9, 2, 0)


def detect(facts: HostFacts) -> HostCapabilities:
    """Return whether the host supports each model, and how many slots it has."""
    capabilities = tuple(_detect(model, facts) for model in MemoryEncryptionModel)
    shared = slot_counts.count_slots(facts).shared
    return HostCapabilities(
        capabilities, None if shared is None else max(shared.number, 0)
    )


def _detect(model: MemoryEncryptionModel, facts: HostFacts) -> ModelCapability:
    for rule in _RULES:
        obstacle = rule(model, facts)
        if obstacle is not None:
            return ModelCapability(model, *obstacle)
    count = slot_counts.count_slots(facts).of(model)
    if count is None:
        return ModelCapability(
            model, slots_source="libvirt older than 8.0 gives no number"
        )
    return ModelCapability(
        model,
        slots=count.number,
        slots_source=count.source,
        warning=_warning(model, facts),
        pci_obstacle=_pci_obstacle(model, facts),
    )


def _pci_obstacle(model: MemoryEncryptionModel, facts: HostFacts) -> str:
    """Return why SEV-SNP guests can have no PCI devices of the host; empty if they can.

    Those of other models are refused such devices in any case.
    """
    qemu = facts.versions.qemu
    if model is not SEV_SNP or qemu is None or qemu >= _QEMU_FOR_SNP_WITH_PCI:
        return ""
    needed = version_text(_QEMU_FOR_SNP_WITH_PCI)
    return (
        f"{model.title} needs QEMU {needed} for host devices, and this host has "
        f"{version_text(qemu)}"
    )


def _warning(model: MemoryEncryptionModel, facts: HostFacts) -> str:
    """Return why guests of a supported model may not start; empty if unknown."""
    api = kernel_log.sev_api(facts.system.kernel_log or ())
    if model is not SEV_ES or not facts.parameters.sev_snp.enabled or not api:
        return ""
    if api < _API_AGAINST_ES or not facts.es_beside_snp:
        return ""
    return (
        "SEV firmware has API {}.{}: from {}.{} on it rejects SEV-ES guests while "
        "SEV-SNP is enabled. Use SEV-SNP, or load kvm_amd with sev_snp=0."
    ).format(*api, *_API_AGAINST_ES)


def _virt_type(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    if facts.virt_type in VIRT_TYPES:
        return None
    found = f"[libvirt] virt_type is {facts.virt_type}"
    return Obstacle(ObstacleKind.VIRT_TYPE, found, "set it to kvm or qemu")


def _libvirt(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    if facts.domain is None:
        found = f"libvirt's domain capabilities cannot be read: {facts.domain_error}"
        return Obstacle(
            ObstacleKind.CAPABILITIES_UNREADABLE, found, "see libvirtd's log"
        )
    if facts.domain.sev:
        return None
    found = "libvirt reports sev supported='no' although kvm_amd has SEV enabled"
    # The usual cause is in the kernel's log, which most users may not read.
    unread = facts.system.kernel_log is None
    first = "see dmesg for a failure of ccp; without one, " if unread else ""
    access = f" ({facts.device.access})" if facts.device.access else ""
    # libvirt keeps its cache of QEMU's capabilities across a restart.
    remedy = (
        f"{first}make sure that QEMU can open /dev/sev{access}, then remove {CACHE} "
        "and restart libvirtd"
    )
    return Obstacle(ObstacleKind.LIBVIRT_SAYS_NO, found, remedy)


def _versions(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    qemu, libvirt = facts.versions.qemu, facts.versions.libvirt
    if model is SEV_ES and qemu is not None and qemu < _QEMU_FOR_ES:
        return _too_old(("QEMU", qemu, _QEMU_FOR_ES))
    if model is not SEV_SNP or facts.domain is None:
        return None
    # A libvirt that lists the type is new enough, whatever its version. The version
    # only explains why a libvirt does not list it.
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
    found = f"libvirt does not list the launchSecurity type sev-snp (listed: {listed})"
    remedy = "make sure that QEMU has the object sev-snp-guest, then restart libvirtd"
    return Obstacle(ObstacleKind.TYPE_MISSING, found, remedy)


def _too_old(*programs: tuple[str, Version, Version]) -> Obstacle:
    needed = " and ".join(f"{name} {version_text(n)}" for name, _, n in programs)
    found = " and ".join(f"{name} {version_text(v)}" for name, v, _ in programs)
    reason = f"it needs {needed}, and this host has {found}"
    return Obstacle(ObstacleKind.VERSION_TOO_OLD, reason, "upgrade")


def _slots(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    count = slot_counts.count_slots(facts).of(model)
    if count is None:
        if facts.domain is None or not facts.domain.counts_nothing:
            return None
        found = "libvirt reports no slots at all (maxGuests=0, maxESGuests=0)"
        remedy = "make sure that libvirtd can read CPUID 0x8000001F, then restart it"
        return Obstacle(ObstacleKind.SLOTS_UNREADABLE, found, remedy)
    if count.number > 0:
        return None
    return kernel_rules.no_asids(model, facts, count)


def _firmware(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check for a suitable guest firmware. Every OVMF in use supports plain SEV."""
    if model is SEV or facts.firmware is None:
        return None
    loaders = facts.domain.loaders if facts.domain else None
    if facts.firmware.offers(model, loaders) is not False:
        return None
    folders = " or ".join(facts.firmware.folders)
    found = f"no firmware descriptor in {folders} has {model.firmware_feature}"
    for descriptor in facts.firmware.descriptors:
        why = descriptor.misfit(model)
        if why is not None:
            where = descriptor.path or f"the descriptor of {descriptor.filename}"
            found = f"{where} has {model.firmware_feature}, but {why}"
            break
    remedy = "install OVMF built for it, or write its descriptor"
    return Obstacle(ObstacleKind.NO_FIRMWARE, found, remedy)


#: The first API of SEV firmware that rejects SEV-ES guests while SEV-SNP is enabled,
#: by one report (github.com/AMDESE/AMDSEV issue 282): it is no more than a warning.
_API_AGAINST_ES = (1, 58)

#: The first kernel whose /dev/kvm reports whether the SEV firmware accepts SEV-ES.
_KERNEL_THAT_ASKS: Version = (7, 2, 0)


def beside_snp(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that SEV-ES guests can start while SEV-SNP is enabled.

    Updated SEV firmware rejects them (CVE-2025-48514).
    """
    if model is not SEV_ES or not facts.parameters.sev_snp.enabled:
        return None
    offered = facts.vm_types.offers(SEV_ES) if facts.vm_types else None
    kernel = facts.versions.kernel
    if offered is False:
        found = "SEV-SNP is enabled, and /dev/kvm does not offer SEV-ES guests with it"
        remedy = "use SEV-SNP, or load kvm_amd with sev_snp=0"
        return Obstacle(ObstacleKind.BESIDE_SNP, found, remedy)
    if offered and kernel is not None and kernel >= _KERNEL_THAT_ASKS:
        return None
    if facts.es_beside_snp or slot_counts.snp_alone(facts) is not None:
        return None  # The operator knows that the SEV firmware accepts both.
    found = (
        "SEV-SNP is enabled, updated SEV firmware rejects SEV-ES guests with it, and "
        "this kernel does not report that"
    )
    remedy = "if the SEV firmware accepts them, set [sev] num_sev_es_guests"
    return Obstacle(ObstacleKind.BESIDE_SNP, found, remedy)


def kvm(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that /dev/kvm offers guests of ``model``."""
    if facts.vm_types is None or facts.vm_types.offers(model) is not False:
        return None
    found = "/dev/kvm does not offer such guests although kvm_amd has them enabled"
    remedy = "see dmesg for why kvm_amd cannot use it"
    return Obstacle(ObstacleKind.KVM_SAYS_NO, found, remedy)


_RULES: tuple[Callable[[MemoryEncryptionModel, HostFacts], Obstacle | None], ...] = (
    _virt_type,
    kernel_rules.architecture,
    kernel_rules.virtual_machine,
    kernel_rules.processor,
    kernel_rules.sme,
    kernel_rules.secure_processor,
    kernel_rules.asids,
    kernel_rules.iommu,
    kernel_rules.snp_setup,
    kernel_rules.build,
    kernel_rules.switches,
    kernel_rules.sev_firmware,
    kernel_rules.parameter,
    kernel_rules.device,
    _libvirt,
    beside_snp,
    _versions,
    _slots,
    kvm,
    _firmware,
)
