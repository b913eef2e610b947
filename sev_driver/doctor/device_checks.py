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
"""The devices by which the kernel offers SEV, and the secure processor behind them."""

from __future__ import annotations

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
from sev_driver.model import MemoryEncryptionModel


def _secure_processor(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    found, modules = evidence.secure_processor.value, evidence.modules.value
    if evidence.facts.device.present:
        devices = ", ".join(found.devices) if found else ""
        return passed(f"it has made a /dev/sev{f' of {devices}' if devices else ''}")
    errors = [line for line in evidence.kernel_log.value or () if _is_psp_error(line)]
    if errors:
        return failed(
            f"the kernel's log: {errors[0][-160:].strip()}",
            "update the machine's firmware, set it up for UEFI boot and memory "
            "interleaving to its default, and take the power off once",
        )
    if modules is not None and "ccp" not in modules:
        return failed(
            "the module ccp, its driver, is not loaded",
            "modprobe ccp; where that fails, see dmesg, and see that the firmware "
            "set-up has the secure processor (PSP) on",
        )
    if found is not None and not found.devices:
        return failed(
            "no PCI device is bound to its driver, ccp",
            "see that the firmware set-up has the secure processor (PSP) on, and dmesg",
        )
    if evidence.facts.device.present is None:
        return skipped("neither /dev nor /sys/class/misc tells of it here")
    return failed(
        "its driver, ccp, has made no /dev/sev",
        "as root, dmesg | grep -i ccp tells why; take the power off once, and update "
        "the machine's firmware",
    )


def _is_psp_error(line: str) -> bool:
    words = ("failed to INIT", "timed out", "disabling PSP", "initialization failed")
    return ("ccp" in line or "SEV" in line) and any(word in line for word in words)


def _device(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    device = evidence.facts.device
    if device.present is None:
        return skipped("it cannot be told whether there is a /dev/sev")
    return passed(f"it is there ({device.access or 'in the list of the kernel'})")


def _kvm(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    types = evidence.facts.vm_types
    if types is None:
        why = evidence.kvm_device.unknown or (
            "there is none" if evidence.kvm_device.absent else "it did not answer here"
        )
        return skipped(f"/dev/kvm: {why}")
    if not types.tells:
        return skipped("this kernel does not tell of SEV by /dev/kvm")
    return passed("it offers such guests")


NODES = (
    Node(
        Check(
            "kernel.secure-processor",
            "Secure processor",
            "/sys/bus/pci/drivers/ccp, /sys/module, dmesg",
        ),
        _secure_processor,
        parent="kernel.parameter",
        explains=frozenset({Obstacle.DEVICE_MISSING}),
    ),
    Node(
        Check("kernel.dev-sev", "Device /dev/sev", "/dev/sev, /sys/class/misc"),
        by_the_driver(Obstacle.DEVICE_MISSING, good=_device),
        parent="kernel.secure-processor",
    ),
    Node(
        Check("kernel.kvm", "What /dev/kvm offers", "KVM_CAP_VM_TYPES of /dev/kvm"),
        by_the_driver(Obstacle.KVM_SAYS_NO, Obstacle.BESIDE_SNP, good=_kvm),
        parent="kernel.dev-sev",
    ),
)
