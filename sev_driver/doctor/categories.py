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
"""All checks of a host, in the order of cause."""

from __future__ import annotations

from sev_driver.doctor import (
    bios_checks,
    compute_checks,
    device_checks,
    firmware_checks,
    kernel_checks,
    libvirt_checks,
    memory_checks,
    nova_checks,
    option_checks,
    processor_checks,
    resource_checks,
    slot_checks,
)
from sev_driver.doctor.tree import Node

#: Each module has its own; what one builds on is in it, or in one before.
NODES: tuple[Node, ...] = (
    *processor_checks.NODES,
    *bios_checks.NODES,
    *kernel_checks.NODES,
    *device_checks.NODES,
    *resource_checks.NODES,
    *libvirt_checks.NODES,
    *firmware_checks.NODES,
    *compute_checks.NODES,
    *nova_checks.NODES,
    *option_checks.NODES,
    *slot_checks.NODES,
    *memory_checks.NODES,
)
