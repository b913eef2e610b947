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
"""The kernel: its version, its module kvm_amd, what it was told at boot."""

from __future__ import annotations

from sev_driver import kernel_obstacles
from sev_driver.capabilities import Obstacle
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check
from sev_driver.doctor.tree import (
    Judgement,
    Node,
    by_the_driver,
    failed,
    passed,
    skipped,
)
from sev_driver.facts import parse_version, version_text
from sev_driver.model import MemoryEncryptionModel

SEV_SNP = MemoryEncryptionModel.AMD_SEV_SNP

_OFF = frozenset({Obstacle.PARAMETER_OFF, Obstacle.PARAMETER_MISSING})
#: On the command line, what keeps the IOMMU from translating.
_PASSED_THROUGH = ("iommu=pt", "iommu.passthrough=1", "iommu=off", "amd_iommu=off")


def _version(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    version, needed = evidence.facts.versions.kernel, kernel_obstacles.KERNELS[model]
    if version is None:
        return skipped("it is not known")
    own = kernel_obstacles.parameter_of(model, evidence.facts)
    least = parse_version(needed)
    if version >= (least or version) or own.text is not None:
        return passed(version_text(version))
    return failed(
        f"it is {version_text(version)}, and {model.title} came with {needed}",
        f"install a kernel of {needed} or later",
    )


def _module(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    if evidence.facts.parameters.sev.text is not None:
        return passed("it is loaded")
    modules = evidence.modules
    if modules.value is None:
        return skipped(f"/sys/module: {modules.unknown or 'not there'}")
    if "kvm_amd" in modules.value:
        return passed("it is loaded")
    return failed(
        "it is not loaded",
        "modprobe kvm_amd; where that fails, set SVM Mode to Enabled in the firmware "
        "set-up (AMD CBS > CPU Common Options), and see dmesg",
    )


def _iommu_mode(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    if evidence.switched_on(SEV_SNP):
        return passed("it translates: else kvm_amd would not have SEV-SNP on")
    words = (evidence.command_line.value or "").split()
    wrong = [word for word in words if word in _PASSED_THROUGH]
    remedy = "take it off the kernel's command line and boot anew: SEV-SNP needs an"
    remedy += " IOMMU that translates"
    if wrong:
        return failed(f"the kernel's command line has {' '.join(wrong)}", remedy)
    for line in evidence.kernel_log.value or ():
        if "IOMMU" in line and "passthrough mode" in line:
            return failed(
                "the kernel's log: it is off or in passthrough mode",
                "boot with iommu=nopt: SEV-SNP needs an IOMMU that translates",
            )
    types = evidence.iommu.value.types if evidence.iommu.value else frozenset()
    if types == {"identity"}:
        return failed(
            "every group of devices has an identity domain: it is in passthrough mode",
            "boot with iommu=nopt: SEV-SNP needs an IOMMU that translates",
        )
    if not types and evidence.command_line.unknown:
        return skipped(f"/proc/cmdline: {evidence.command_line.unknown}")
    return passed(f"not in passthrough mode ({', '.join(sorted(types)) or 'by name'})")


def _parameter(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    found = kernel_obstacles.parameter_of(model, evidence.facts)
    if found.text is None:
        return skipped(f"{found.path} was not looked at")
    return passed(f"{found.path} is {found.text.strip()[:40]}")


NODES = (
    Node(
        Check("kernel.version", "Version of the kernel", "uname -r"),
        _version,
        parent="bios.snp",
        explains=frozenset({Obstacle.PARAMETER_MISSING}),
    ),
    Node(
        Check("kernel.kvm-amd", "Module kvm_amd", "/sys/module"),
        _module,
        parent="kernel.version",
        explains=frozenset({Obstacle.PARAMETER_MISSING}),
    ),
    Node(
        Check(
            "kernel.iommu-mode",
            "Mode of the IOMMU",
            "/proc/cmdline, dmesg, /sys/kernel/iommu_groups/*/type",
        ),
        _iommu_mode,
        parent="kernel.kvm-amd",
        models=frozenset({SEV_SNP}),
        explains=_OFF,
    ),
    Node(
        Check(
            "kernel.parameter",
            "Parameter of kvm_amd",
            "/sys/module/kvm_amd/parameters",
        ),
        by_the_driver(
            *_OFF,
            Obstacle.PARAMETER_UNREADABLE,
            good=_parameter,
        ),
        parent="kernel.iommu-mode",
    ),
)
