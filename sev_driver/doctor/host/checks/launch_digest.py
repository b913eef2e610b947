# SPDX-License-Identifier: Apache-2.0

"""Whether a guest's launch digest is the same on other hosts, as to its CPU model."""

from __future__ import annotations

from sev_driver.doctor.host.checks.nova import CPUS_WITHOUT_SNP, setting, where_read
from sev_driver.doctor.host.checks.slots import not_here
from sev_driver.doctor.host.evidence import Evidence
from sev_driver.doctor.host.tree import Outcome, check, passed, skipped, warned
from sev_driver.exceptions import DetectionError
from sev_driver.host.guest_cpu import GuestCpu, guest_cpu
from sev_driver.model import SEV_SNP, MemoryEncryptionModel

#: The oldest model that the secure processor accepts, of any generation.
_OLDEST_MODEL = "EPYC-v4"


@check(
    "nova.launch-digest",
    "Launch digest on other hosts",
    "[libvirt] cpu_mode, cpu_models, libvirt's domain capabilities, /proc/cpuinfo",
    parent="nova.cpu-mode",
    models=frozenset({SEV_SNP}),
)
@where_read
def launch_digest(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    """Owners of guests compute the digest before they know the host."""
    if (absent := not_here(evidence, model)) is not None:
        return absent
    option = evidence.option("libvirt", "cpu_mode")
    mode = option or "host-model"
    if mode == "custom":
        return _custom(evidence)
    if mode == "none":
        return passed("it does not depend on the host: guests have QEMU's own model")
    try:
        cpu = _cpu(evidence, mode)
    except DetectionError as error:
        return skipped(f"cpu_mode is {mode}, and on this host {error}")
    seen = f"cpu_mode is {mode}" if option else f"cpu_mode is unset, and so {mode}"
    return warned(
        f"{seen}: guests have {cpu.model} with signature {cpu.signature:#x} here, and "
        f"on a host of another generation another one, with another launch digest",
        f"if owners check it, and hosts are of different generations, "
        f"{setting(evidence, 'libvirt', 'cpu_mode', 'custom')}, and cpu_models to a "
        f"model that all of them have, such as {_suggested(evidence)}",
    )


def _cpu(evidence: Evidence, mode: str) -> GuestCpu:
    facts = evidence.full_facts
    host_model = facts.domain.host_model if facts.domain else None
    return guest_cpu(mode, None, host_model, facts.system.processor)


def _suggested(evidence: Evidence) -> str:
    domain = evidence.facts.domain
    name = domain.host_model if domain else None
    if name is None or name in CPUS_WITHOUT_SNP:
        return _OLDEST_MODEL
    return name


def _custom(evidence: Evidence) -> Outcome:
    text = evidence.option("libvirt", "cpu_models") or ""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        return skipped("cpu_mode is custom, and cpu_models names no model")
    models = ", ".join(map(_described, names))
    which = ", by the traits of the flavor" if len(names) > 1 else ""
    return passed(
        f"it does not depend on the host: guests have {models}{which}, as on all "
        f"hosts with these options"
    )


def _described(name: str) -> str:
    try:
        return f"{name} with signature {guest_cpu('custom', name).signature:#x}"
    except DetectionError:
        return name
