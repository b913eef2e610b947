# SPDX-License-Identifier: Apache-2.0


"""refusal_counts: our errors in, Nova's out, and each counted once."""

from __future__ import annotations

import logging

import pytest
from nova import exception as nova_exception
from nova import objects

from sev_driver.compute import errors
from sev_driver.compute.errors import ErrorTranslator
from sev_driver.exceptions import (
    OperationNotSupported,
    Requirement,
    RequirementsNotMet,
    Violation,
)
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability.refusal_reasons import Refusal

SEV = MemoryEncryptionModel.AMD_SEV
UUID = "11111111-2222-3333-4444-555555555555"
SUSPENDING = OperationNotSupported("Suspending", SEV, "why")


@pytest.fixture(scope="module")
def server() -> objects.Instance:
    objects.register_all()
    return objects.Instance(uuid=UUID)


def test_a_refused_operation_leaves_the_server_as_it_was(
    server: objects.Instance, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = ErrorTranslator()
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(nova_exception.InstanceFaultRollback) as caught,
        refusals.translate_to(errors.for_rollback, server),
    ):
        raise SUSPENDING
    words = "Suspending is not possible for a guest encrypted by AMD SEV: why"
    assert caught.value.inner_exception.format_message() == words
    assert words in caplog.text
    assert refusals.counts() == {Refusal("suspending", SEV): 1}


def test_other_errors_pass_unchanged_and_uncounted(server: objects.Instance) -> None:
    refusals = ErrorTranslator()
    with (
        pytest.raises(KeyError),
        refusals.translate_to(errors.for_operation, server),
    ):
        raise KeyError
    assert refusals.counts() == {}


def test_what_is_refused_within_another_operation_counts_once(
    server: objects.Instance,
) -> None:
    refusals = ErrorTranslator()
    with (
        pytest.raises(nova_exception.InternalError),
        refusals.translate_to(errors.for_operation, server),
        refusals.translate_to(errors.for_operation, server),
    ):
        raise SUSPENDING
    assert refusals.counts() == {Refusal("suspending", SEV): 1}


def test_two_devices_of_the_host_are_one_reason(server: objects.Instance) -> None:
    refusals = ErrorTranslator()
    device = Violation(Requirement.NO_HOST_DEVICE, "a flavor", "gpu", "none", SEV)
    with (
        pytest.raises(nova_exception.InternalError),
        refusals.translate_to(errors.for_operation, server),
    ):
        raise RequirementsNotMet([device, device])
    assert refusals.counts() == {Refusal("no-host-device", SEV): 1}
