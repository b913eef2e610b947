# SPDX-License-Identifier: Apache-2.0

"""The kernel: its version, kvm_amd, boot parameters, devices and limits."""

from __future__ import annotations

from sev_driver.doctor.host import parsers
from sev_driver.doctor.host.evidence import Evidence
from sev_driver.doctor.host.tree import (
    Outcome,
    by_the_driver,
    check,
    failed,
    passed,
    skipped,
    warned,
)
from sev_driver.host import kernel_log, kernel_rules, slot_counts
from sev_driver.host.capabilities import ObstacleKind
from sev_driver.host.facts import version_text
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel

_MISSING = ObstacleKind.PARAMETER_MISSING


@check(
    "kernel.version",
    "Version of the kernel",
    "uname -r",
    parent="bios.snp",
)
def _version(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    version = evidence.facts.versions.kernel
    if version is None:
        return skipped("it is not known")
    capability = evidence.capabilities[model]
    old = kernel_rules.is_kernel_too_old(model, evidence.facts)
    if capability.obstacle is _MISSING and old:
        return failed(capability.reason, capability.remedy)
    return passed(version_text(version))


@check(
    "kernel.kvm-amd",
    "Module kvm_amd",
    "/sys/module",
    parent="kernel.version",
)
@by_the_driver(ObstacleKind.KERNEL_WITHOUT_SEV)
def _module(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if evidence.facts.parameters.sev.text is not None:
        return passed("it is loaded")
    modules = evidence.modules
    if modules.value is None:
        return skipped(f"/sys/module: {modules.unknown or 'not there'}")
    capability = evidence.capabilities[model]
    absent = kernel_rules.is_module_missing(evidence.full_facts)
    if capability.obstacle is _MISSING and absent:
        return failed(capability.reason, capability.remedy)
    return skipped("it is not loaded") if absent else passed("it is loaded")


@check(
    "kernel.iommu-mode",
    "Mode of the IOMMU",
    "/proc/cmdline, dmesg, /sys/kernel/iommu_groups/*/type",
    parent="kernel.kvm-amd",
    models=frozenset({SEV_SNP}),
)
@by_the_driver(ObstacleKind.IOMMU_MODE)
def _iommu_mode(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if evidence.switched_on(SEV_SNP):
        return passed("it translates: otherwise kvm_amd would not have SEV-SNP on")
    types = evidence.iommu.value.types if evidence.iommu.value else frozenset()
    if not types and evidence.command_line.unknown:
        return skipped(f"/proc/cmdline: {evidence.command_line.unknown}")
    return passed(f"not in passthrough mode ({', '.join(sorted(types)) or 'by name'})")


@check(
    "kernel.parameter",
    "Parameter of kvm_amd",
    "/sys/module/kvm_amd/parameters",
    parent="kernel.iommu-mode",
)
@by_the_driver(
    ObstacleKind.PARAMETER_OFF,
    _MISSING,
    ObstacleKind.PARAMETER_UNREADABLE,
    ObstacleKind.SWITCHED_OFF,
)
def _parameter(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    found = kernel_rules.parameter_of(model, evidence.facts)
    if found.text is None:
        return skipped(f"{found.path} was not read")
    if not found.enabled:
        return skipped(f"{found.path} is {found.text.strip()[:40]}; the cause is above")
    return passed(f"{found.path} is {found.text.strip()[:40]}")


@check(
    "kernel.secure-processor",
    "Secure processor",
    "dmesg, /sys/bus/pci/drivers/ccp, /sys/module",
    parent="kernel.parameter",
)
@by_the_driver(
    ObstacleKind.SECURE_PROCESSOR_FAILED,
    ObstacleKind.SEV_FIRMWARE_TOO_OLD,
    ObstacleKind.DEVICE_MISSING,
)
def _secure_processor(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    found, log = evidence.secure_processor.value, evidence.kernel_log.value
    if not evidence.facts.device.present:
        return skipped("neither /dev nor /sys/class/misc shows it here")
    api = kernel_log.sev_api(log or ())
    known = f"; the API of its firmware is {api[0]}.{api[1]}" if api else ""
    if log is None:
        why = evidence.kernel_log.unknown or "it does not exist"
        known = f"; whether it has failed since is in the kernel's log, not read: {why}"
    devices = ", ".join(found.devices) if found else ""
    created = f"it has created /dev/sev{f' of {devices}' if devices else ''}{known}"
    return passed(created)


@check(
    "kernel.dev-sev",
    "Device /dev/sev",
    "/dev/sev, /sys/class/misc",
    parent="kernel.secure-processor",
)
def _device(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    device = evidence.facts.device
    if device.present is None:
        return skipped("it is not known whether there is a /dev/sev")
    return passed(f"it is there ({device.access or 'in the list of the kernel'})")


@check(
    "kernel.kvm",
    "What /dev/kvm offers",
    "KVM_CAP_VM_TYPES of /dev/kvm",
    parent="kernel.dev-sev",
)
@by_the_driver(ObstacleKind.KVM_SAYS_NO, ObstacleKind.BESIDE_SNP)
def _kvm(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if warning := evidence.capabilities[model].warning:
        seen, _, remedy = warning.rstrip(".").rpartition(". ")
        return warned(seen, f"{remedy[:1].lower()}{remedy[1:]}")
    types = evidence.facts.vm_types
    if types is None:
        why = evidence.kvm_device.unknown or (
            "it does not exist"
            if evidence.kvm_device.absent
            else "it did not answer here"
        )
        return skipped(f"/dev/kvm: {why}")
    if not types.reports_sev:
        return skipped("this kernel does not report SEV through /dev/kvm")
    return passed("it offers such guests")


@check(
    "kernel.ciphertext-hiding",
    "ASIDs beside ciphertext hiding",
    "/sys/module/kvm_amd/parameters/ciphertext_hiding_asids",
    parent="kernel.parameter",
    models=frozenset({SEV_ES, SEV_SNP}),
    explains=frozenset({ObstacleKind.NO_SLOTS}),
)
def _hiding(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    count = slot_counts.count_slots(evidence.full_facts).of(model)
    capability = evidence.capabilities[model]
    if count and count.who == slot_counts.KVM_AMD and count.number <= 0:
        return failed(
            capability.reason or f"{count.name} is {count.number}",
            capability.remedy or "load kvm_amd with another ciphertext_hiding_asids",
        )
    hidden = evidence.facts.parameters.ciphertext_hiding_asids.text
    return passed(f"ciphertext_hiding_asids is {(hidden or 'not there').strip()[:20]}")


@check(
    "kernel.misc-cgroup",
    "Control group of ASIDs",
    "/sys/fs/cgroup/misc.capacity, misc.current",
    parent="kernel.parameter",
)
def _misc(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    capacity, current = evidence.facts.misc_capacity, evidence.misc_current
    key = "sev" if model is SEV else "sev_es"
    if not capacity:
        return skipped("no misc.capacity to read here: it counts no ASID")
    used = f", {current[key]} in use" if key in current else ""
    return passed(f"{key}: {capacity.get(key, 0)} ASIDs{used}")


@check(
    "kernel.memlock",
    "Locked memory",
    "/proc/PID/limits and status of libvirtd or virtqemud",
    parent="processor.physical",
    models=frozenset({SEV, SEV_ES}),
)
def _memlock(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    daemon = evidence.daemon
    if daemon.value is None:
        why = daemon.unknown or "no process of libvirtd or virtqemud was found"
        return skipped(why)
    limit = daemon.value.memlock
    if limit is None:
        return skipped(f"/proc/{daemon.value.pid}/limits has no such limit")
    if limit >= parsers.UNLIMITED:
        return passed("no limit")
    words = f"{daemon.value.name} may lock {limit // 1024} KiB"
    if daemon.value.may_raise_limits is not False:
        return passed(f"{words}; for a guest that locks its memory it raises that")
    return warned(
        f"{words} and lacks CAP_SYS_RESOURCE to raise that for a guest",
        f"give {daemon.value.name} LimitMEMLOCK=infinity or CAP_SYS_RESOURCE, and "
        "restart it",
    )
