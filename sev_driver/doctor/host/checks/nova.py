# SPDX-License-Identifier: Apache-2.0

"""Whether nova.conf lets nova-compute start encrypted guests."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oslo_config import types

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host.evidence import Evidence
from sev_driver.doctor.host.nova_conf import OPTIONS, OURS, Option
from sev_driver.doctor.host.tree import (
    CheckFunction,
    Outcome,
    check,
    failed,
    passed,
    skipped,
    warned,
)
from sev_driver.domain.launch_security import Policies
from sev_driver.exceptions import ConfigurationError
from sev_driver.guest.policy import SevPolicy, SnpPolicy
from sev_driver.guest.requirements import MACHINE_TYPE
from sev_driver.model import SEV_SNP, MemoryEncryptionModel

DRIVER = "sev_driver.SEVDriver"
_STOCK = "libvirt.LibvirtDriver"

_CPU_MODES = ("host-model", "host-passthrough", "maximum", "custom", "none")
#: The families of processors that have SEV; models of others may ask for what they
#: have not.
_AMD_MODELS = re.compile(
    r"(EPYC|Opteron|phenom|qemu64|kvm64|x86-64-v\d)", re.IGNORECASE
)


#: CPU models of QEMU with CPUID leaves that the secure processor rejects. Whether it
#: does for the first versions of EPYC-Rome and EPYC-Milan is not known.
_CPUS_WITHOUT_SNP = frozenset({"EPYC", "EPYC-IBPB", "EPYC-v1", "EPYC-v2", "EPYC-v3"})

#: A line that sev-driver-link sets off: the error, and then commands.
_SET_OFF = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)


@check(
    "nova.compute",
    "nova-compute",
    "the processes, and PATH",
)
def _found(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    compute = evidence.nova_compute
    if compute.unknown:
        return skipped(compute.unknown)
    if compute.value is None:
        return skipped(
            "no nova-compute runs here or is on PATH; run sev-doctor where it "
            "is installed, for example in its container"
        )
    if compute.value.elsewhere:
        return skipped(
            "it runs in a container, which has its own files; run sev-doctor in there"
        )
    return passed(f"its Python is {compute.value.python}")


@check(
    "nova.import",
    "The driver in nova-compute's Python",
    "nova-compute's own import, in its Python",
    parent="nova.compute",
)
def _import(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    tried = evidence.driver_import
    if tried.value is None:
        return skipped(tried.unknown or "there is no nova-compute to try it")
    if tried.value.works:
        return passed(
            tried.value.said.splitlines()[-1][:200] if tried.value.said else ""
        )
    set_off = _SET_OFF.findall(tried.value.said)
    commands = [line for line in set_off if " -m " in line]
    words = " ".join(tried.value.said.split())
    message, _, hint = words.partition(commands[0] if commands else "\0")
    remedy = (
        f"as root: {commands[0]}"
        if commands
        else "repair the installation for that Python"
    )
    return failed(
        message.strip()[:400], f"{remedy}{f' ({hint.strip()})' if hint else ''}"
    )


@check(
    "nova.conf",
    "nova.conf",
    "the files that nova-compute reads",
)
def conf(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    """What nova-compute reads, and whether all of it could be read here."""
    files = evidence.nova_files
    for path, file in files.items():
        if file.unknown:
            reader = f" by {evidence.read_as}" if evidence.read_as else ""
            return skipped(
                f"{path} cannot be read{reader} ({file.unknown}); run this as root, or "
                "as the user that nova-compute runs as"
            )
    found = [path for path, file in files.items() if not file.absent]
    if not found:
        return skipped(
            f"no nova.conf was found ({', '.join(files) or 'no file'}); if "
            "nova-compute has another, name it with --nova-conf"
        )
    return passed(", ".join(found))


def where_read(function: CheckFunction) -> CheckFunction:
    """Skip a check if nova.conf was not read."""

    @functools.wraps(function)
    def decorated(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
        if conf(evidence, model).verdict is Verdict.PASS:
            return function(evidence, model)
        return skipped("nova.conf was not read")

    return decorated


@check(
    "nova.compute-driver",
    "compute_driver in nova.conf",
    "[DEFAULT] compute_driver",
    parent="nova.conf",
)
@where_read
def compute_driver(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    value = evidence.option("DEFAULT", "compute_driver")
    if value == DRIVER:
        return passed(value)
    seen = "it is unset" if not value else f"it is {value}"
    if value == _STOCK:
        seen += ", Nova's own driver, which has none of this driver's options"
    elif value and "SEVDriver" in value:
        seen += ", where nova-compute does not find it"
    return failed(seen, setting(evidence, "DEFAULT", "compute_driver", DRIVER))


@check(
    "nova.virt-type",
    "virt_type in nova.conf",
    "[libvirt] virt_type",
    parent="nova.conf",
)
@where_read
def virt_type(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    value = evidence.option("libvirt", "virt_type")
    if value in (None, "kvm"):
        return passed(value or "it is unset, and so kvm")
    why = ": an emulated guest cannot be encrypted" if value == "qemu" else ""
    return failed(
        f"it is {value or 'empty'}{why}",
        setting(evidence, "libvirt", "virt_type", "kvm"),
    )


@check(
    "nova.machine-type",
    "Machine type in nova.conf",
    "[libvirt] hw_machine_type",
    parent="nova.conf",
)
@where_read
def machine_type(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    value = evidence.option("libvirt", "hw_machine_type")
    machine = _of_x86_64(value or "")
    if machine is None:
        return passed("it is unset for x86_64, and so encrypted guests get q35")
    # A substring, as the driver has it: pc-q35-7.2 is q35, too.
    if MACHINE_TYPE in machine:
        return passed(f"it is {value}")
    return failed(
        f"it is {value}, and an encrypted guest whose image names no machine type is "
        "refused with that",
        setting(evidence, "libvirt", "hw_machine_type", f"x86_64={MACHINE_TYPE}")
        + f"; or set hw_machine_type={MACHINE_TYPE} on the images",
    )


def _of_x86_64(value: str) -> str | None:
    """Return the machine type in ``x86_64=pc,aarch64=virt``; None without one."""
    for pair in value.split(","):
        architecture, equals, machine = pair.strip().partition("=")
        if equals and architecture.strip() == "x86_64":
            return machine.strip()
    return None


@check(
    "nova.cpu-mode",
    "CPU of guests in nova.conf",
    "[libvirt] cpu_mode, cpu_models",
    parent="nova.conf",
)
@where_read
def cpu_mode(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    value = evidence.option("libvirt", "cpu_mode")
    if value is None:
        return passed("it is unset, and so host-model")
    if value not in _CPU_MODES:
        return failed(
            f"it is {value or 'empty'}, and nova-compute does not start with that",
            setting(evidence, "libvirt", "cpu_mode", "host-model"),
        )
    models = evidence.option("libvirt", "cpu_models") or ""
    others = [
        name.strip()
        for name in models.split(",")
        if name.strip() and not _AMD_MODELS.match(name.strip())
    ]
    if value == "custom" and others:
        return warned(
            f"it is custom, and [libvirt] cpu_models has {', '.join(others)}, which "
            "is no AMD processor's",
            setting(evidence, "libvirt", "cpu_mode", "host-model")
            + "; or name an EPYC in cpu_models",
        )
    old = [n.strip() for n in models.split(",") if n.strip() in _CPUS_WITHOUT_SNP]
    if value == "custom" and old and model is MemoryEncryptionModel.AMD_SEV_SNP:
        return warned(
            f"[libvirt] cpu_models has {', '.join(old)}: the secure processor rejects "
            "the CPUID of this model, and an SEV-SNP guest does not start",
            "set cpu_models to EPYC-v4 or newer in "
            f"{place(evidence, 'libvirt', 'cpu_models')}, or cpu_mode to host-model, "
            "then restart nova-compute",
        )
    return passed(f"it is {value}{f' ({models})' if value == 'custom' else ''}")


@check(
    "nova.policies",
    "Policies of guests in nova.conf",
    "[sev] sev_policy, sev_es_policy, snp_policy, allow_debug",
    parent="nova.conf",
)
@where_read
def policies(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    """By the rules by which nova-compute refuses to start."""

    def value(name: str) -> str:
        return evidence.option("sev", name) or ""

    names = ("sev_policy", "sev_es_policy", "snp_policy")
    if not any(map(value, names)):
        return passed("they are unset, and so Nova's own")
    wrong = [
        error
        for name in names
        if (error := _policy_error(name, value(name), value("allow_debug")))
    ]
    if wrong:
        return failed(
            f"nova-compute does not start: {'; '.join(wrong)}",
            f"correct it in {place(evidence, 'sev', 'allow_debug')}, or leave the "
            "policies out, then restart nova-compute",
        )
    message = ", ".join(f"{name} {value(name)}" for name in names if value(name))
    return passed(message)


#: The field of :class:`Policies` for each option, and what reads it.
_POLICIES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "sev_policy": ("sev", SevPolicy.parse),
    "sev_es_policy": ("sev_es", SevPolicy.parse),
    "snp_policy": ("snp", SnpPolicy.parse),
}


def _policy_error(name: str, text: str, allow_debug: str) -> str:
    """Return what is wrong with one policy; empty if nothing is."""
    field, parse = _POLICIES[name]
    try:
        if text:
            Policies(**{field: parse(text)}, allow_debug=_is_true(allow_debug))
    except (ConfigurationError, ValueError) as error:
        message = str(error).rstrip(".")
        return message if name in message else f"[sev] {name}: {message}"
    return ""


def setting(evidence: Evidence, section: str, name: str, value: str) -> str:
    """Return the remedy that sets an option."""
    where = place(evidence, section, name)
    return f"set [{section}] {name} = {value} in {where}, then restart nova-compute"


def place(evidence: Evidence, section: str, name: str) -> str:
    """Return the file where an option stands, or would count if it stood there."""
    option = evidence.options.get((section, name))
    if option is not None:
        return option.path
    found = [path for path, file in evidence.nova_files.items() if not file.absent]
    return found[-1] if found else "nova.conf"


@check(
    "nova.snp-pci-devices",
    "PCI devices of guests in nova.conf",
    "[sev] allow_snp_pci_devices, the version of QEMU, the running domains",
    parent="nova.conf",
)
@where_read
def snp_pci_devices(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    """Say that the option is on, and how many guests make use of it."""
    if not _is_true(evidence.option("sev", "allow_snp_pci_devices") or ""):
        return passed("they are refused")
    if model is not SEV_SNP:
        return passed(f"{model.title} guests are refused them, whatever is set")
    off = f"unset it in {place(evidence, 'sev', 'allow_snp_pci_devices')}"
    obstacle = evidence.capabilities[SEV_SNP].pci_obstacle
    if obstacle:
        return warned(
            f"they are allowed, but {obstacle}: they are refused",
            f"upgrade QEMU, or {off}, then restart nova-compute",
        )
    guests = [
        domain.pci_devices
        for domain in evidence.domains.value or ()
        if domain.model is SEV_SNP and domain.pci_devices
    ]
    known = evidence.domains.value is not None
    count = str(len(guests)) if known else "an unknown number of"
    return warned(
        "they are allowed, which was not tested on hardware; "
        f"{count} SEV-SNP guests run with them ({sum(guests)} devices)",
        f"if such guests fail, {off}, then restart nova-compute",
    )


_NAMES = {name: section for section, name in OPTIONS}

#: How similar to an option of the driver a name must be to be taken for it. Nova's own
#: names, such as hw_machine_type and num_pcie_ports, are less similar.
_ALIKE = 0.85


@check(
    "nova.option-values",
    "Values of the driver's options",
    "[sev] and [libvirt] num_memory_encrypted_guests",
    parent="nova.conf",
)
@where_read
def values(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    """A value that oslo.config does not take keeps nova-compute from starting."""
    wrong = {
        (section, name): option
        for (section, name), option in evidence.options.items()
        if (section, name) in OPTIONS
        and not _is_valid(OPTIONS[section, name].type, option.value or "")
    }
    if not wrong:
        return passed("each has a valid value")
    first = next(key for key in OPTIONS if key in wrong)
    form = OPTIONS[first].type
    kind = _number(form) if isinstance(form, types.Integer) else "true or false"
    seen = "; ".join(
        f"[{section}] {name} is {wrong[section, name].value!r}"
        for section, name in OPTIONS
        if (section, name) in wrong
    )
    return failed(
        f"{seen}: nova-compute does not start with that",
        f"set it to {kind} in {place(evidence, *first)}, then restart nova-compute",
    )


def _number(form: types.Integer) -> str:
    """Say which numbers an option takes."""
    return "a number" if form.min is None else f"a number of {form.min} or more"


def _is_true(text: str) -> bool:
    try:
        return bool(text) and bool(types.Boolean()(text))
    except ValueError:
        return False  # nova.option-values fails


def _is_valid(form: Any, text: str) -> bool:
    # A policy has a check of its own.
    if not isinstance(form, (types.Integer, types.Boolean)):
        return True
    try:
        form(text)
    except ValueError:
        return False
    return True


@check(
    "nova.option-names",
    "Names of the driver's options",
    "the names in [DEFAULT], [libvirt] and [sev]",
    parent="nova.conf",
)
@where_read
def names(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    """nova-compute says nothing of an option that it does not know."""
    strays = list(_strays(evidence.options))
    if not strays:
        return passed("all names are known")
    return warned(
        "nova-compute ignores "
        + ", ".join(f"[{option.section}] {option.name}" for option, _ in strays),
        "; ".join(
            f"in {option.path} " + (f"write {meant}" if meant else "remove it")
            for option, meant in strays
        )
        + "; then restart nova-compute",
    )


def _strays(options: Mapping[tuple[str, str], Option]) -> Iterator[tuple[Option, str]]:
    """Yield each option that nothing reads, and what was probably meant."""
    for (section, name), option in options.items():
        if (section, name) in OPTIONS:
            continue
        if name in _NAMES and section != OURS and _NAMES[name] != section:
            yield option, f"it as [{_NAMES[name]}] {name}"
            continue
        if section == OURS:
            near = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.6)
        else:
            mine = [each for each, where in _NAMES.items() if "encrypted" in each]
            near = difflib.get_close_matches(name, mine, n=1, cutoff=_ALIKE)
        if near:
            yield option, f"it as [{_NAMES[near[0]]}] {near[0]}"
        elif section == OURS:
            yield option, ""
