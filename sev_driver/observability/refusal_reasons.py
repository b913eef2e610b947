# SPDX-License-Identifier: Apache-2.0

"""The reasons of refusals, as labels of a metric."""

from __future__ import annotations

from typing import NamedTuple

from sev_driver.exceptions import (
    DomainXMLError,
    EncryptionLost,
    OperationNotSupported,
    Requirement,
    RequirementsNotMet,
    SevDriverError,
)
from sev_driver.guest.operations import Operation
from sev_driver.model import AnyModel

ENCRYPTION_LOST = "encryption-lost"
DOMAIN_XML = "domain-xml"
OTHER = "other"


class Refusal(NamedTuple):
    """A reason, which is also a label in the manual's page of messages.

    ``model`` is None if the error does not say which model was requested.
    """

    reason: str
    model: AnyModel | None


def _label(operation: str) -> str:
    return operation.lower().replace(" ", "-")


#: All reasons for guests of a known model.
REASONS = (
    *(requirement.value for requirement in Requirement),
    *(_label(operation.value) for operation in Operation),
    ENCRYPTION_LOST,
)


def reasons_of(error: SevDriverError) -> tuple[Refusal, ...]:
    """Return the reasons of an error, at least one."""
    if isinstance(error, RequirementsNotMet):
        return tuple(Refusal(v.requirement.value, v.model) for v in error.violations)
    if isinstance(error, OperationNotSupported):
        return (Refusal(_label(error.operation), error.model),)
    if isinstance(error, EncryptionLost):
        return (Refusal(ENCRYPTION_LOST, error.model),)
    known = isinstance(error, DomainXMLError)
    return (Refusal(DOMAIN_XML if known else OTHER, None),)
