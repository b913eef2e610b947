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

"""Why something was refused, as labels for a machine to count."""

from __future__ import annotations

from typing import NamedTuple

from sev_driver import lifecycle
from sev_driver.exceptions import (
    DomainXMLError,
    EncryptionLost,
    OperationNotSupported,
    RequirementsNotMet,
    SevDriverError,
)
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import Requirement

ENCRYPTION_LOST = "encryption-lost"
DOMAIN_XML = "domain-xml"
OTHER = "other"


class Refusal(NamedTuple):
    """One reason: a label of the manual's page of messages.

    ``model`` is None where the error does not tell what the guest asked for.
    """

    reason: str
    model: MemoryEncryptionModel | None


def _label(operation: str) -> str:
    return operation.lower().replace(" ", "-")


#: All reasons there are for a guest of a known generation.
REASONS = (
    *(requirement.value for requirement in Requirement),
    *sorted(
        {
            _label(operation.value)
            for (operation, _), ruling in lifecycle.RULINGS.items()
            if not ruling.allowed
        }
    ),
    ENCRYPTION_LOST,
)


def of(error: SevDriverError) -> tuple[Refusal, ...]:
    """Return every reason for which ``error`` refuses, at least one."""
    if isinstance(error, RequirementsNotMet):
        return tuple(Refusal(v.requirement.value, v.model) for v in error.violations)
    if isinstance(error, OperationNotSupported):
        return (Refusal(_label(error.operation), error.model),)
    if isinstance(error, EncryptionLost):
        return (Refusal(ENCRYPTION_LOST, error.model),)
    known = isinstance(error, DomainXMLError)
    return (Refusal(DOMAIN_XML if known else OTHER, None),)
