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
"""The kernel: its version, its parameters, its devices."""

from __future__ import annotations

from sev_driver import kernel_obstacles
from sev_driver.capabilities import Obstacle
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check
from sev_driver.doctor.tree import Judgement, Node, by_the_driver, passed, skipped
from sev_driver.model import MemoryEncryptionModel


def _parameter(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    found = kernel_obstacles.parameter_of(model, evidence.facts)
    if found.text is None:
        return skipped(f"{found.path} was not looked at")
    return passed(f"{found.path} is {found.text.strip()}")


def _device(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    device = evidence.facts.device
    if device.present is None:
        return skipped("it cannot be told whether there is a /dev/sev")
    return passed(f"/dev/sev is there ({device.access or 'in the kernel'})")


NODES = (
    Node(
        Check(
            "kernel.parameter",
            "kvm_amd has it switched on",
            "/sys/module/kvm_amd/parameters",
        ),
        by_the_driver(
            Obstacle.PARAMETER_OFF,
            Obstacle.PARAMETER_MISSING,
            Obstacle.PARAMETER_UNREADABLE,
            good=_parameter,
        ),
    ),
    Node(
        Check("kernel.dev-sev", "/dev/sev exists", "/dev/sev, /sys/class/misc"),
        by_the_driver(Obstacle.DEVICE_MISSING, good=_device),
        parent="kernel.parameter",
    ),
)
