# SPDX-License-Identifier: Apache-2.0

"""operations: what is refused, and what the user can do instead."""

import pytest

from sev_driver.exceptions import OperationNotSupported
from sev_driver.guest import operations
from sev_driver.guest.operations import Operation
from sev_driver.model import SEV_ES


@pytest.mark.parametrize(
    ("operation", "alternative"),
    [
        (Operation.LIVE_MIGRATION, "shut it down and migrate it cold"),
        (Operation.MANAGED_SAVE, "stop or shelve it instead"),
        (Operation.SUSPEND, "stop or shelve it instead"),
    ],
)
def test_refused_operation_names_an_alternative(
    operation: Operation, alternative: str
) -> None:
    with pytest.raises(OperationNotSupported) as caught:
        operations.refuse(operation, SEV_ES)
    assert caught.value.operation == operation.value
    assert caught.value.model is SEV_ES
    assert caught.value.reason.endswith(f"; {alternative}")
