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
"""Whether nova.conf lets nova-compute start encrypted guests."""

from __future__ import annotations

import re

from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check, Verdict
from sev_driver.doctor.tree import (
    Judge,
    Judgement,
    Node,
    failed,
    passed,
    skipped,
    warned,
)
from sev_driver.exceptions import ConfigurationError
from sev_driver.model import MemoryEncryptionModel
from sev_driver.policies import Policies
from sev_driver.policy import SevPolicy, SnpPolicy
from sev_driver.requirements import MACHINE_TYPE

DRIVER = "sev_driver.SEVDriver"
_STOCK = "libvirt.LibvirtDriver"

_CPU_MODES = ("host-model", "host-passthrough", "maximum", "custom", "none")
#: The families of processors that have SEV; models of others may ask for what they
#: have not.
_AMD_MODELS = re.compile(
    r"(EPYC|Opteron|phenom|qemu64|kvm64|x86-64-v\d)", re.IGNORECASE
)

#: What oslo.config takes for a boolean.
_TRUE = frozenset({"true", "1", "on", "yes"})


def conf(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
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
            f"there is none here (no {' nor '.join(files) or 'file was named'}); where "
            "nova-compute has another, name it with --nova-conf"
        )
    return passed(", ".join(found))


def where_read(judge: Judge) -> Judge:
    """Return a judge that says nothing of a nova.conf that was not read."""

    def judged(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
        if conf(evidence, model).verdict is Verdict.PASS:
            return judge(evidence, model)
        return skipped("nova.conf was not read")

    return judged


def compute_driver(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    value = evidence.option("DEFAULT", "compute_driver")
    if value == DRIVER:
        return passed(value)
    seen = "it is unset" if not value else f"it is {value}"
    if value == _STOCK:
        seen += ", Nova's own, which knows nothing of this driver's options"
    elif value and "SEVDriver" in value:
        seen += ", which is not how nova-compute finds it"
    return failed(seen, setting(evidence, "DEFAULT", "compute_driver", DRIVER))


def virt_type(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    value = evidence.option("libvirt", "virt_type")
    if value in (None, "kvm"):
        return passed(value or "it is unset, and so kvm")
    why = ": an emulated guest cannot be encrypted" if value == "qemu" else ""
    return failed(
        f"it is {value or 'empty'}{why}",
        setting(evidence, "libvirt", "virt_type", "kvm"),
    )


def machine_type(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
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
    """Return the machine type in ``x86_64=pc,aarch64=virt``; None if there is none."""
    for pair in value.split(","):
        architecture, equals, machine = pair.strip().partition("=")
        if equals and architecture.strip() == "x86_64":
            return machine.strip()
    return None


def cpu_mode(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
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
    return passed(f"it is {value}{f' ({models})' if value == 'custom' else ''}")


def policies(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    """By the rules by which nova-compute refuses to start."""

    def value(name: str) -> str:
        return evidence.option("sev", name) or ""

    names = ("sev_policy", "sev_es_policy", "snp_policy")
    if not any(map(value, names)):
        return passed("they are unset, and so Nova's own")
    default = Policies()
    try:
        Policies(
            SevPolicy.parse(value("sev_policy"))
            if value("sev_policy")
            else default.sev,
            SevPolicy.parse(value("sev_es_policy"))
            if value("sev_es_policy")
            else default.sev_es,
            SnpPolicy.parse(value("snp_policy"))
            if value("snp_policy")
            else default.snp,
            value("allow_debug").lower() in _TRUE,
        )
    except (ConfigurationError, ValueError) as error:
        told = str(error).rstrip(".")
        return failed(
            f"nova-compute does not start: {told}",
            f"mend it in {place(evidence, 'sev', 'allow_debug')}, or leave the "
            "policies out, then restart nova-compute",
        )
    told = ", ".join(f"{name} {value(name)}" for name in names if value(name))
    return passed(told)


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


CONF = Check("nova.conf", "nova.conf", "the files that nova-compute reads")


def _node(name: str, title: str, reads: str, judge: Judge) -> Node:
    return Node(Check(f"nova.{name}", title, reads), where_read(judge), parent=CONF.id)


NODES = (
    Node(CONF, conf),
    _node(
        "compute-driver",
        "compute_driver in nova.conf",
        "[DEFAULT] compute_driver",
        compute_driver,
    ),
    _node("virt-type", "virt_type in nova.conf", "[libvirt] virt_type", virt_type),
    _node(
        "machine-type",
        "Machine type in nova.conf",
        "[libvirt] hw_machine_type",
        machine_type,
    ),
    _node(
        "cpu-mode",
        "CPU of guests in nova.conf",
        "[libvirt] cpu_mode, cpu_models",
        cpu_mode,
    ),
    _node(
        "policies",
        "Policies of guests in nova.conf",
        "[sev] sev_policy, sev_es_policy, snp_policy, allow_debug",
        policies,
    ),
)
