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

"""Whether the slot that a guest was given is of the generation it asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import Finding, GuestRequest, Requirement, Violation
from sev_driver.reshape import SLOT


def check(
    request: GuestRequest,
    allocations: Mapping[str, Mapping[str, Any]] | None,
    provider_name: Callable[[str], str],
) -> tuple[Violation, ...]:
    """Return what is wrong with a guest's slot.

    :param allocations: of the guest, as Nova hands them to ``spawn``: by the
        provider's uuid. Nothing is concluded from none at all.
    :param provider_name: tells a provider's name by its uuid.
    """
    if not allocations:
        return ()
    names = [
        provider_name(uuid)
        for uuid, allocation in allocations.items()
        if SLOT in allocation["resources"]
    ]
    return tuple(finding.by(request) for finding in _findings(request, names))


def _findings(request: GuestRequest, names: list[str]) -> Iterator[Finding]:
    if not names:
        yield Finding(
            Requirement.SLOT,
            "Placement gave it no slot",
            f"set resources:{SLOT}=1 on the flavor",
        )
    for name in names:
        model = model_of(name)
        if model is not request.model:
            yield Finding(
                Requirement.POOL,
                f"the slot it was given is one of {model.title}",
                f"require the trait of {request.model.title} in the flavor",
            )


def is_pool(provider: str) -> bool:
    """Whether a provider's name is that of a generation's slots."""
    return any(provider.endswith(f"_{model.symbol}") for model in MemoryEncryptionModel)


def model_of(provider: str) -> MemoryEncryptionModel:
    """Return the generation whose slots a provider has.

    What Nova 31 and older has on the root, and an option of ours puts there, is of
    plain SEV.
    """
    # The longest first: one name is the beginning of the others.
    for model in sorted(MemoryEncryptionModel, key=lambda m: -len(m.symbol)):
        if provider.endswith(f"_{model.symbol}"):
            return model
    return MemoryEncryptionModel.AMD_SEV
