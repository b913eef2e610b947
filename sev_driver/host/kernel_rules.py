# SPDX-License-Identifier: Apache-2.0

"""Rules of detection below libvirt: the processor, the BIOS setup, the kernel, the PSP.

The names of the settings are those of AMD's reference BIOS setup (AMD CBS), which most
vendors keep; the paths differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sev_driver.exceptions import printable
from sev_driver.host import kernel_log, slot_counts
from sev_driver.host.capabilities import Obstacle, ObstacleKind
from sev_driver.host.facts import (
    HostFacts,
    KvmParameter,
    Version,
    is_true,
    parse_version,
    version_text,
)
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel

CPU_OPTIONS = "AMD CBS > CPU Common Options"
NBIO_OPTIONS = "AMD CBS > NBIO Common Options"

_AMD = ("AMD", "Hygon")

#: The first kernel whose kvm_amd has the parameter.
KERNELS = {SEV: "4.16", SEV_ES: "5.11", SEV_SNP: "6.11"}

#: The first kernel that takes the flag sev_snp away where there is no RMP table.
_TELLS_OF_RMP: Version = (6, 9, 0)

#: The oldest API of SEV firmware with which the kernel initializes SEV-SNP.
_API_FOR_SNP = (1, 51)

_BY_HAND = "remove it from the kernel's command line and reboot"
_POWER_OFF = (
    "boot the host by UEFI, update the BIOS, set SMEE to Enabled and not to Auto in "  # nosec B608
    f"the BIOS setup ({CPU_OPTIONS}), and power the host off once"
)
_SNP_SETUP = (
    f"set SNP Memory (RMP Table) Coverage to Enabled ({CPU_OPTIONS}), and SEV-SNP "
    f"Support to Enabled, not Auto ({NBIO_OPTIONS}), in the BIOS setup"
)
_TRANSLATES = "SEV-SNP needs an IOMMU that translates, with page tables of version 1"

#: Parameters of modules without which KVM has no guests of the models.
_NEEDED_SWITCHES = {
    "kvm_amd.npt": frozenset({SEV, SEV_ES, SEV_SNP}),
    "kvm_amd.nrips": frozenset({SEV, SEV_ES, SEV_SNP}),
    "kvm_amd.sev": frozenset({SEV, SEV_ES, SEV_SNP}),
    "kvm_amd.sev_es": frozenset({SEV_ES, SEV_SNP}),
    "kvm_amd.lbrv": frozenset({SEV_ES, SEV_SNP}),
    "kvm.mmio_caching": frozenset({SEV_ES, SEV_SNP}),
    "kvm_amd.sev_snp": frozenset({SEV_SNP}),
}
_IOMMU_MODES = frozenset({"pt", "soft", "off"})
_AMD_IOMMU_MODES = frozenset({"off", "pgtbl_v2"})
_IOMMU_IN_LOG = re.compile(r"passthrough mode|V2 page table", re.IGNORECASE)


def parameter_of(model: MemoryEncryptionModel, facts: HostFacts) -> KvmParameter:
    """Return the parameter of kvm_amd that enables ``model``."""
    parameter: KvmParameter = getattr(facts.parameters, model.kvm_parameter)
    return parameter


def _is_off(model: MemoryEncryptionModel, facts: HostFacts) -> bool:
    """Return whether kvm_amd has the parameter of ``model``, and it is off."""
    own = parameter_of(model, facts)
    return own.text is not None and not own.enabled


def _is_missing(model: MemoryEncryptionModel, facts: HostFacts) -> bool:
    own = parameter_of(model, facts)
    return own.text is None and own.error is None


def architecture(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that the processor is AMD's."""
    what = facts.arch
    if what == "x86_64":
        vendor = _foreign_vendor(facts)
        if vendor is None:
            return None
        what = f"made by {vendor}"
    return Obstacle(ObstacleKind.ARCH, f"the processor is {what}", "use an AMD EPYC")


def _foreign_vendor(facts: HostFacts) -> str | None:
    """Return the vendor if it is not AMD and SEV is not enabled, else None."""
    found = facts.system.processor
    if found is not None and found.vendor:
        is_off = _is_missing(SEV, facts) or _is_off(SEV, facts)
        return found.vendor_title if is_off and not found.is_amd else None
    if not _is_missing(SEV, facts) or not facts.vendor or facts.vendor in _AMD:
        return None
    return facts.vendor


def virtual_machine(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that this is not a virtual machine without SEV, as most are."""
    processor = facts.system.processor
    if processor is None or not processor.is_virtual or not processor.is_amd:
        return None
    if not (_is_missing(SEV, facts) or _is_off(SEV, facts)):
        return None
    found = "this is a virtual machine, and its hypervisor gives it no SEV"
    return Obstacle(ObstacleKind.VIRTUAL_MACHINE, found, "use a physical machine")


def processor(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that the processor has SEV firmware and supports ``model``."""
    found = facts.system.processor
    if found is None or not found.is_amd:
        return None
    works = parameter(model, facts) is None and facts.device.present is not False
    if found.is_consumer and not works and not facts.device.present:
        reason = f"the processor is {found.title}: only EPYC has SEV firmware"
        return Obstacle(ObstacleKind.NOT_EPYC, reason, "use an AMD EPYC")
    known = found.generation
    if known is None or model is not SEV_SNP or known.snp:
        return None
    if facts.parameters.sev_snp.error or facts.parameters.sev_snp.enabled:
        return None
    reason = f"the processor is {found.title} ({known.name}), which has no SEV-SNP"
    remedy = "use Milan (EPYC 7003) or later, or another model"
    return Obstacle(ObstacleKind.PROCESSOR_WITHOUT_SNP, reason, remedy)


def sme(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that SME is enabled in the BIOS setup; if not, the flags are hidden."""
    found = facts.system.processor
    if found is None or not found.is_amd or not found.flags or not _is_off(SEV, facts):
        return None
    missing = [flag for flag in ("sme", "sev") if flag not in found.flags]
    if not missing:
        return None
    reason = f"the kernel shows no flag {' or '.join(missing)} of the processor"
    remedy = (
        f"set SMEE to Enabled and not to Auto in the BIOS setup ({CPU_OPTIONS}), and "
        "SEV Control to Enabled where there is one"
    )
    return Obstacle(ObstacleKind.SME_OFF, reason, remedy)


def secure_processor(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check with the kernel's log that the secure processor works.

    The parameters, /dev/sev and libvirt's cache do not show a failure.
    """
    log = facts.system.kernel_log or ()
    failure = kernel_log.psp_failure(log, model)
    if failure is not None:
        found = f"the secure processor has failed; the kernel's log: {failure}"
        return Obstacle(ObstacleKind.SECURE_PROCESSOR_FAILED, found, _POWER_OFF)
    return None


def asids(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that the BIOS setup leaves ASIDs: without them the model is disabled."""
    if model is SEV or not _is_off(model, facts) or not facts.parameters.sev.enabled:
        return None
    shared = slot_counts.count_slots(facts).shared
    if shared is None or shared.number > 0:
        return None
    return no_asids(model, facts, shared)


def no_asids(
    model: MemoryEncryptionModel, facts: HostFacts, count: slot_counts.Count
) -> Obstacle:
    """Return the obstacle that ``model`` has no ASIDs, and how to change that."""
    if count.who == slot_counts.KVM_AMD:
        found = "kvm_amd keeps all ASIDs that SEV-ES and SEV-SNP share for SEV-SNP"
        remedy = "load kvm_amd with a lower ciphertext_hiding_asids"
        return Obstacle(ObstacleKind.NO_SLOTS, found, remedy)
    # The BIOS setup can give all ASIDs to SEV-ES, or none; the number computed from
    # CPUID 0x8000001F can even be negative.
    found = f"{count.who} reports no slots for it ({count.name}={count.number})"
    limit = "a lower number"
    if model is not SEV:
        limit = _limit(slot_counts.count_slots(facts).sev)
    # Dell's setting is the same number: the ASIDs below it are those of SEV-ES.
    remedy = (
        "set SEV-ES ASID Space Limit Control to Manual and SEV-ES ASID Space Limit "
        f"(Dell: Minimum SEV non-ES ASID) to {limit} in the BIOS setup ({CPU_OPTIONS})"
    )
    return Obstacle(ObstacleKind.NO_SLOTS, found, remedy)


def _limit(plain: slot_counts.Count | None) -> str:
    """Return a limit that leaves ASIDs for plain SEV as well as for the others.

    The ASIDs below the limit are those of SEV-ES and SEV-SNP.

    :param plain: the number of ASIDs of plain SEV, which has all of them.
    """
    if plain is None or plain.number < 3:
        return "a higher number"
    return f"a number such as {min(100, plain.number // 2 + 1)}"


def iommu(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that the IOMMU is on, and in the mode that SEV-SNP needs."""
    if model is not SEV_SNP or not _is_off(SEV_SNP, facts):
        return None
    wrong = " ".join(_iommu_words(facts.system.command_line or ""))
    if wrong:
        found = f"the kernel's command line has {wrong}: {_TRANSLATES}"
        return Obstacle(ObstacleKind.IOMMU_MODE, found, _BY_HAND)
    refusal = kernel_log.snp_refusal(facts.system.kernel_log or ())
    if refusal is not None and _IOMMU_IN_LOG.search(refusal):
        found = f"the kernel's log: {refusal}"
        remedy = "boot with iommu=nopt, and without amd_iommu=off or pgtbl_v2"
        return Obstacle(ObstacleKind.IOMMU_MODE, found, remedy)
    if refusal is not None:
        return None  # snp_setup() reports the kernel's message.
    seen = facts.system.iommu
    if seen is None:
        return None
    if not seen.units and not seen.groups:
        remedy = f"set IOMMU to Enabled in the BIOS setup ({NBIO_OPTIONS})"
        return Obstacle(ObstacleKind.IOMMU_OFF, "the kernel uses no IOMMU", remedy)
    if seen.types == {"identity"}:
        found = (
            "every group of devices has an identity domain: the IOMMU is in "
            "passthrough mode"
        )
        return Obstacle(
            ObstacleKind.IOMMU_MODE, found, f"boot with iommu=nopt: {_TRANSLATES}"
        )
    return None


def _iommu_words(command_line: str) -> Iterator[str]:
    """Yield the parameters that disable the IOMMU mode that SEV-SNP needs."""
    for word in command_line.split():
        name, _, value = word.partition("=")
        values = frozenset(value.split(","))
        if (
            (name == "iommu" and values & _IOMMU_MODES)
            or (name == "amd_iommu" and values & _AMD_IOMMU_MODES)
            or (name == "iommu.passthrough" and is_true(value))
        ):
            yield printable(word, 40)


def snp_setup(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that SEV-SNP and its RMP table are enabled in the BIOS setup."""
    if model is not SEV_SNP or not _is_off(SEV_SNP, facts):
        return None
    refusal = kernel_log.snp_refusal(facts.system.kernel_log or ())
    if refusal is not None:
        found = f"the kernel's log: {refusal}"
        return Obstacle(ObstacleKind.SNP_OFF, found, _SNP_SETUP)
    found_processor, version = facts.system.processor, facts.versions.kernel
    known = found_processor and found_processor.generation
    if found_processor is None or not known or not known.snp or not version:
        return None
    if "sev_snp" in found_processor.flags or version < _TELLS_OF_RMP:
        return None
    found = "the kernel shows no flag sev_snp of the processor"
    return Obstacle(ObstacleKind.SNP_OFF, found, _SNP_SETUP)


def build(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that the kernel was built with SEV."""
    modules, version = facts.system.modules, facts.versions.kernel
    least = parse_version(KERNELS[SEV])
    if not _is_missing(SEV, facts) or modules is None or "kvm_amd" not in modules:
        return None
    if version is None or least is None or version < least:
        return None
    found = (
        f"kvm_amd is loaded and has no parameter sev: this kernel "
        f"({version_text(version)}) was built without CONFIG_KVM_AMD_SEV"
    )
    remedy = "install a kernel that was built with CONFIG_KVM_AMD_SEV"
    return Obstacle(ObstacleKind.KERNEL_WITHOUT_SEV, found, remedy)


def switches(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that the kernel's command line does not disable the model."""
    if not (_is_off(model, facts) or _is_off(SEV, facts)):
        return None
    for word in (facts.system.command_line or "").split():
        name, _, value = word.partition("=")
        models = _NEEDED_SWITCHES.get(name.replace("-", "_"), frozenset())
        if model in models and value and not is_true(value):
            found = f"the kernel's command line has {printable(word, 40)}"
            return Obstacle(ObstacleKind.SWITCHED_OFF, found, _BY_HAND)
    return None


def sev_firmware(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check by the kernel's log that the SEV firmware is new enough for SEV-SNP."""
    api = kernel_log.sev_api(facts.system.kernel_log or ())
    if model is not SEV_SNP or _is_missing(SEV_SNP, facts) or api is None:
        return None
    if api < _API_FOR_SNP:
        found = "SEV firmware has API {}.{}, and SEV-SNP needs {}.{}".format(
            *api, *_API_FOR_SNP
        )
        remedy = "update the BIOS, or install newer SEV firmware (amd/amd_sev_*.sbin)"
        return Obstacle(ObstacleKind.SEV_FIRMWARE_TOO_OLD, found, remedy)
    return None


def parameter(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that kvm_amd has SEV and ``model`` enabled."""
    own = parameter_of(model, facts)
    if model is not SEV:
        parent = _switch(SEV, facts)
        # Without SEV the kernel disables the other models, too. If SEV's parameter
        # cannot be read, the model's own one is enough.
        if parent is not None and not (facts.parameters.sev.error and own.enabled):
            return parent
    return _switch(model, facts)


def _switch(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    parameter = parameter_of(model, facts)
    path = parameter.path
    if parameter.error is not None:
        found = f"{path} cannot be read ({parameter.error})"
        remedy = "allow nova-compute to read it"
        return Obstacle(ObstacleKind.PARAMETER_UNREADABLE, found, remedy)
    if parameter.text is None:
        return _missing(model, facts)
    if not parameter.enabled:
        found = f"{path} is {printable(parameter.text.strip(), 40) or 'empty'}"
        remedy = (
            f"enable {model.short_title} in the BIOS setup and load kvm_amd with "
            f"{model.kvm_parameter}=1"
        )
        errors = kernel_log.psp_errors(facts.system.kernel_log or ())
        if errors:
            found += f"; the kernel's log: {errors[0]}"
        return Obstacle(ObstacleKind.PARAMETER_OFF, found, remedy)
    return None


def is_kernel_too_old(model: MemoryEncryptionModel, facts: HostFacts) -> bool:
    """Return whether the kernel is too old to have the parameter of ``model``."""
    version, needed = facts.versions.kernel, parse_version(KERNELS[model])
    return version is not None and needed is not None and version < needed


def is_module_missing(facts: HostFacts) -> bool:
    """Return whether kvm_amd is not loaded; False also if that is unknown."""
    modules = facts.system.modules
    return modules is not None and "kvm_amd" not in modules


def _missing(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle:
    """Return why the parameter of ``model`` does not exist."""
    version = facts.versions.kernel
    if version is not None and is_kernel_too_old(model, facts):
        found = (
            f"the kernel is {version_text(version)}, and kvm_amd has {model.title} "
            f"from {KERNELS[model]} on"
        )
        remedy = f"install a kernel of {KERNELS[model]} or later"
    elif is_module_missing(facts):
        found = "the module kvm_amd is not loaded"
        remedy = (
            "modprobe kvm_amd; if that fails, set SVM Mode to Enabled in the BIOS "
            f"setup ({CPU_OPTIONS}), and see dmesg"
        )
    else:
        found = f"{parameter_of(model, facts).path} does not exist"
        remedy = f"load kvm_amd from kernel {KERNELS[model]} or later"
    return Obstacle(ObstacleKind.PARAMETER_MISSING, found, remedy)


def device(model: MemoryEncryptionModel, facts: HostFacts) -> Obstacle | None:
    """Check that /dev/sev exists."""
    if facts.device.present is not False:
        return None
    found = "/dev/sev does not exist although kvm_amd has SEV enabled"
    why, remedy = _why_no_device(facts)
    found += f": {why}" if why else ""
    return Obstacle(ObstacleKind.DEVICE_MISSING, found, remedy)


def _why_no_device(facts: HostFacts) -> tuple[str, str]:
    """Return the cause, empty if unknown, and the remedy."""
    system = facts.system
    psp_on = "enable the secure processor (PSP) in the BIOS setup, and see dmesg"
    errors = kernel_log.psp_errors(system.kernel_log or ())
    if errors:
        return f"the kernel's log: {errors[0]}", _POWER_OFF
    if system.modules is not None and "ccp" not in system.modules:
        return "the module ccp is not loaded", f"modprobe ccp; if that fails, {psp_on}"
    if system.psp_devices == ():
        why = "no PCI device is bound to its driver, ccp"
        version = facts.versions.kernel
        known = system.processor and system.processor.generation
        if known and version and version < known.kernel:
            why += f"; the kernel ({version_text(version)}) may be older than "
            why += f"the processor ({known.name}) and not know its PSP"
            return why, f"install a newer kernel; if that does not help, {psp_on}"
        return why, psp_on
    remedy = "see dmesg for why ccp cannot use the secure processor"
    return "", f"{remedy}, update the BIOS, and power the host off once"
