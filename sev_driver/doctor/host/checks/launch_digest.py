# SPDX-License-Identifier: Apache-2.0

"""Whether a guest's launch digest is the same on other hosts, as to its CPU model."""

from __future__ import annotations

from sev_driver.doctor.host.checks.nova import where_read
from sev_driver.doctor.host.checks.slots import not_here
from sev_driver.doctor.host.evidence import Evidence
from sev_driver.doctor.host.tree import Outcome, check, passed, skipped
from sev_driver.exceptions import DetectionError
from sev_driver.host.guest_cpu import GuestCpu, guest_cpu
from sev_driver.model import SEV_SNP, MemoryEncryptionModel


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
    # That is Nova's default, and nothing is wrong if all hosts are alike.
    return passed(
        f"it depends on the host: {seen}, and guests have {cpu.model} with signature "
        f"{cpu.signature:#x} here; sev-doctor cloud says which hosts differ"
    )


def _cpu(evidence: Evidence, mode: str) -> GuestCpu:
    facts = evidence.full_facts
    host_model = facts.domain.host_model if facts.domain else None
    return guest_cpu(mode, None, host_model, facts.system.processor)


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
