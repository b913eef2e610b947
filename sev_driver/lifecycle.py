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

"""Which operations the encryption rules out, and why: one table."""

from __future__ import annotations

import dataclasses
import enum

from sev_driver.exceptions import OperationNotSupported
from sev_driver.model import MemoryEncryptionModel


class Operation(enum.Enum):
    """What a user or operator does to a running guest; the values are shown."""

    ATTACH_INTERFACE = "Attaching a network interface"
    ATTACH_VOLUME = "Attaching a volume"
    COLD_MIGRATION = "Cold migration"
    CONSOLE = "A console"
    EVACUATE = "Evacuation"
    HARD_REBOOT = "A hard reboot"
    LIVE_MIGRATION = "Live migration"
    MANAGED_SAVE = "Managed save"
    MEMORY_SNAPSHOT = "A snapshot with memory"
    PAUSE = "Pausing"
    REBUILD = "A rebuild"
    RESCUE = "A rescue"
    RESIZE = "A resize"
    SHELVE = "Shelving"
    SNAPSHOT = "A snapshot of the disk"
    SOFT_REBOOT = "A soft reboot"
    SUSPEND = "Suspending"


@dataclasses.dataclass(frozen=True)
class Ruling:
    """``reason`` says why not, and what to do instead."""

    allowed: bool
    reason: str = ""


_MIGRATE = "shut it down and migrate it cold"
_SHUT_DOWN = "stop or shelve it instead"
_DISK_ONLY = "take a snapshot of its disk"

#: Operations that write or send the guest's memory, which leaves the host
#: encrypted by a key that nobody else has.
_NEEDS_PLAIN_MEMORY = {
    Operation.LIVE_MIGRATION: _MIGRATE,
    Operation.MANAGED_SAVE: _SHUT_DOWN,
    Operation.MEMORY_SNAPSHOT: _DISK_ONLY,
    Operation.SUSPEND: _SHUT_DOWN,
}


def _ruling(operation: Operation) -> Ruling:
    instead = _NEEDS_PLAIN_MEMORY.get(operation)
    if instead is None:
        return Ruling(True)
    return Ruling(False, f"its memory cannot be saved or moved; {instead}")


#: QEMU refuses them for every generation: "Migration is not implemented".
RULINGS: dict[tuple[Operation, MemoryEncryptionModel], Ruling] = {
    (operation, model): _ruling(operation)
    for operation in Operation
    for model in MemoryEncryptionModel
}


def require(operation: Operation, model: MemoryEncryptionModel) -> None:
    """Return if the operation is allowed.

    :raises OperationNotSupported: it is not.
    """
    ruling = RULINGS[operation, model]
    if not ruling.allowed:
        raise OperationNotSupported(operation.value, model, ruling.reason)
