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

"""lifecycle: one ruling for every operation and model."""

import itertools

import pytest

from sev_driver import lifecycle
from sev_driver.exceptions import OperationNotSupported
from sev_driver.lifecycle import Operation
from sev_driver.model import MemoryEncryptionModel

RULED_OUT = {
    Operation.LIVE_MIGRATION,
    Operation.MANAGED_SAVE,
    Operation.MEMORY_SNAPSHOT,
    Operation.SUSPEND,
}
PAIRS = list(itertools.product(Operation, MemoryEncryptionModel))


def test_the_table_is_complete() -> None:
    assert set(lifecycle.RULINGS) == set(PAIRS)


@pytest.mark.parametrize(("operation", "model"), PAIRS)
def test_rulings(operation: Operation, model: MemoryEncryptionModel) -> None:
    if operation not in RULED_OUT:
        lifecycle.require(operation, model)
        return
    with pytest.raises(OperationNotSupported) as caught:
        lifecycle.require(operation, model)
    assert caught.value.operation == operation.value
    assert caught.value.model is model
    assert (
        "instead" in caught.value.reason
        or "shut it down" in (caught.value.reason)
        or "snapshot of its disk" in caught.value.reason
    )
