# SPDX-License-Identifier: Apache-2.0


"""refusal_reasons: an error in, what to count out."""

import pathlib

import pytest

from sev_driver.exceptions import (
    DetectionError,
    DomainXMLError,
    EncryptionLost,
    OperationNotSupported,
    RequirementsNotMet,
    SevDriverError,
)
from sev_driver.guest import operations
from sev_driver.guest.requirements import GuestRequest, check_request
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability import refusal_reasons
from sev_driver.observability.refusal_reasons import REASONS, Refusal

MANUAL = pathlib.Path(__file__).parents[3] / "doc/source/admin/messages.rst"
ES = MemoryEncryptionModel.AMD_SEV_ES


def test_each_requirement_that_is_missed_is_a_reason() -> None:
    request = GuestRequest(ES, ("sev:model of flavor m1",), conflict="no")
    error = RequirementsNotMet(check_request(request, {}))
    found = refusal_reasons.reasons_of(error)
    assert found == (Refusal("agreement", ES), Refusal("firmware-type", ES))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EncryptionLost("instance-1", ES, "nothing"), Refusal("encryption-lost", ES)),
        (OperationNotSupported("Live migration", ES, ""), ("live-migration", ES)),
        (DomainXMLError("?"), Refusal("domain-xml", None)),
        (DetectionError("?"), Refusal("other", None)),
    ],
)
def test_every_error_has_a_reason(error: SevDriverError, expected: Refusal) -> None:
    assert refusal_reasons.reasons_of(error) == (expected,)


@pytest.mark.parametrize("operation", operations.Operation)
def test_every_operation_that_is_refused_has_one(
    operation: operations.Operation,
) -> None:
    with pytest.raises(OperationNotSupported) as refused:
        operations.refuse(operation, ES)
    (found,) = refusal_reasons.reasons_of(refused.value)
    assert found.reason in REASONS


@pytest.mark.parametrize("reason", [*REASONS, refusal_reasons.DOMAIN_XML])
def test_the_manual_explains_it(reason: str) -> None:
    assert f".. _message-{reason}:" in MANUAL.read_text()
