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


"""refusal_reasons: an error in, what to count out."""

import pathlib

import pytest

from sev_driver import lifecycle, refusal_reasons
from sev_driver.exceptions import (
    DetectionError,
    DomainXMLError,
    EncryptionLost,
    OperationNotSupported,
    RequirementsNotMet,
    SevDriverError,
)
from sev_driver.model import MemoryEncryptionModel
from sev_driver.refusal_reasons import REASONS, Refusal
from sev_driver.requirements import GuestRequest, check

MANUAL = pathlib.Path(__file__).parents[2] / "doc/source/admin/messages.rst"
ES = MemoryEncryptionModel.AMD_SEV_ES


def test_each_requirement_that_is_missed_is_a_reason() -> None:
    request = GuestRequest(ES, ("sev:model of flavor m1",), conflict="no")
    error = RequirementsNotMet(check(request, {}))
    found = refusal_reasons.of(error)
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
    assert refusal_reasons.of(error) == (expected,)


@pytest.mark.parametrize("operation", lifecycle.Operation)
def test_every_operation_that_is_refused_has_one(
    operation: lifecycle.Operation,
) -> None:
    if lifecycle.RULINGS[operation, ES].allowed:
        return
    with pytest.raises(OperationNotSupported) as refused:
        lifecycle.require(operation, ES)
    (found,) = refusal_reasons.of(refused.value)
    assert found.reason in REASONS


@pytest.mark.parametrize("reason", [*REASONS, refusal_reasons.DOMAIN_XML])
def test_the_manual_explains_it(reason: str) -> None:
    assert f".. _message-{reason}:" in MANUAL.read_text()
