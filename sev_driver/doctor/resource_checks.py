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
"""What of the kernel's resources guests get: ASIDs, and memory that they may lock."""

from __future__ import annotations

from sev_driver import slot_counts
from sev_driver.capabilities import Obstacle
from sev_driver.doctor import texts
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check
from sev_driver.doctor.tree import Judgement, Node, failed, passed, skipped, warned
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
SEV_ES = MemoryEncryptionModel.AMD_SEV_ES
SEV_SNP = MemoryEncryptionModel.AMD_SEV_SNP


def _hiding(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    count = slot_counts.count(evidence.facts).of(model)
    capability = evidence.capabilities[model]
    if count and count.who == slot_counts.KVM_AMD and count.number <= 0:
        return failed(
            capability.reason or f"{count.name} is {count.number}",
            capability.remedy or "load kvm_amd with another ciphertext_hiding_asids",
        )
    hidden = evidence.facts.parameters.ciphertext_hiding_asids.text
    return passed(f"ciphertext_hiding_asids is {(hidden or 'not there').strip()[:20]}")


def _misc(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    capacity, current = evidence.facts.misc_capacity, evidence.misc_current
    key = "sev" if model is SEV else "sev_es"
    if not capacity:
        return skipped("no misc.capacity to read here: it counts no ASID")
    used = f", {current[key]} in use" if key in current else ""
    return passed(f"{key}: {capacity.get(key, 0)} ASIDs{used}")


def _memlock(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    daemon = evidence.daemon
    if daemon.value is None:
        why = daemon.unknown or "no process of libvirtd or virtqemud was found"
        return skipped(why)
    limit = daemon.value.memlock
    if limit is None:
        return skipped(f"/proc/{daemon.value.pid}/limits does not tell")
    if limit >= texts.UNLIMITED:
        return passed("no limit")
    words = f"{daemon.value.name} may lock {limit // 1024} KiB"
    if daemon.value.may_raise_limits is not False:
        return passed(f"{words}; for a guest that locks its memory it raises that")
    return warned(
        f"{words} and lacks CAP_SYS_RESOURCE to raise that for a guest",
        f"give {daemon.value.name} LimitMEMLOCK=infinity or CAP_SYS_RESOURCE, and "
        "restart it",
    )


NODES = (
    Node(
        Check(
            "kernel.ciphertext-hiding",
            "ASIDs beside ciphertext hiding",
            "/sys/module/kvm_amd/parameters/ciphertext_hiding_asids",
        ),
        _hiding,
        parent="kernel.parameter",
        models=frozenset({SEV_ES, SEV_SNP}),
        explains=frozenset({Obstacle.NO_SLOTS}),
    ),
    Node(
        Check(
            "kernel.misc-cgroup",
            "Control group of ASIDs",
            "/sys/fs/cgroup/misc.capacity, misc.current",
        ),
        _misc,
        parent="kernel.parameter",
    ),
    Node(
        Check(
            "kernel.memlock",
            "Locked memory",
            "/proc/PID/limits and status of libvirtd or virtqemud",
        ),
        _memlock,
        models=frozenset({SEV, SEV_ES}),
    ),
)
