# SPDX-License-Identifier: Apache-2.0

"""The operations that encrypted guests do not support, and what to do instead."""

from __future__ import annotations

import enum
from typing import NoReturn

from sev_driver.exceptions import OperationNotSupported
from sev_driver.model import MemoryEncryptionModel


class Operation(enum.Enum):
    """An operation that QEMU rejects for guests of every model.

    Each saves or sends the guest's memory, which is encrypted with a key that never
    leaves the host. The values are shown to users.
    """

    LIVE_MIGRATION = "Live migration"
    MANAGED_SAVE = "Managed save"
    SUSPEND = "Suspending"

    @property
    def alternative(self) -> str:
        """What the user can do instead."""
        if self is Operation.LIVE_MIGRATION:
            return "shut it down and migrate it cold"
        return "stop or shelve it instead"


def refuse(operation: Operation, model: MemoryEncryptionModel) -> NoReturn:
    """Refuse an operation on a guest encrypted with ``model``.

    :raises OperationNotSupported: always.
    """
    reason = f"its memory cannot be saved or moved; {operation.alternative}"
    raise OperationNotSupported(operation.value, model, reason)
