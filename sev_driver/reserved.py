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


"""Slots that are gone, though no allocation in Placement says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from sev_driver.capabilities import HostCapabilities
from sev_driver.inventory import Offer, together
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel


@dataclasses.dataclass(frozen=True)
class Use:
    """Of one model: slots allocated, and running guests beyond these.

    ``uncovered`` are encrypted guests of this model that run and hold no
    allocation of its provider, whoever started them.
    """

    allocated: int = 0
    uncovered: int = 0


Uses = Mapping[MemoryEncryptionModel, Use]


def reserve(
    host: HostCapabilities, offer: Offer, uses: Uses
) -> dict[MemoryEncryptionModel, int]:
    """Return how many of each model's slots to reserve.

    Guests that Nova does not know first take what it is not offered; only then
    do they take from what it is. With that, Placement gives away no more than is
    free, and no less.

    What guests hold of a model beyond its offer, as when the option was lowered or
    the model was lost, is gone for the other that shares the pool.
    """
    reserved: dict[MemoryEncryptionModel, int] = {}
    if is_split(host):
        uses = _spilled(host, uses)
    for models, size in _pools(host):
        offered = {model: offer[model].total for model in models if model in offer}
        spare = 0 if size is None else max(0, size - sum(offered.values()))
        each = {model: uses.get(model, Use()) for model in models}
        taken = sum(use.uncovered for use in each.values())
        if len(models) > 1:
            taken += sum(
                max(0, use.allocated - offered.get(model, 0))
                for model, use in each.items()
            )
        missing = max(0, taken - spare)
        reserved |= _spread(offered, uses, missing)
    return reserved


def _pools(
    host: HostCapabilities,
) -> Iterator[tuple[tuple[MemoryEncryptionModel, ...], int | None]]:
    """Yield models that share slots, and how many there are of them."""
    if SEV in host:
        yield (SEV,), host[SEV].slots
    shared = tuple(model for model in (SEV_ES, SEV_SNP) if model in host)
    if is_split(host):
        yield from (((model,), host[model].slots) for model in shared)
    elif shared:
        yield shared, together(host)


def is_split(host: HostCapabilities) -> bool:
    """Tell whether SEV-ES and SEV-SNP have slots of their own (ciphertext hiding)."""
    both = together(host)
    each = [host[model].slots or 0 for model in (SEV_ES, SEV_SNP) if model in host]
    return both is not None and len(each) == 2 and all(each) and sum(each) <= both


def _spilled(host: HostCapabilities, uses: Uses) -> Uses:
    """Put down to SEV-SNP what cannot be SEV-ES's.

    The kernel counts both as one, and what only it knows of is told as SEV-ES.
    """
    es, snp = uses.get(SEV_ES, Use()), uses.get(SEV_SNP, Use())
    beyond = max(0, es.uncovered - (host[SEV_ES].slots or 0))
    return {
        **uses,
        SEV_ES: dataclasses.replace(es, uncovered=es.uncovered - beyond),
        SEV_SNP: dataclasses.replace(snp, uncovered=snp.uncovered + beyond),
    }


def _spread(
    offered: Mapping[MemoryEncryptionModel, int], uses: Uses, missing: int
) -> dict[MemoryEncryptionModel, int]:
    """Take ``missing`` slots from what is offered, of the guests' own model first."""
    use = {model: uses.get(model, Use()) for model in offered}
    free = {
        model: max(0, total - use[model].allocated) for model, total in offered.items()
    }
    reserved = {}
    for model, total in offered.items():
        # Also where all are allocated: one could be given back before the next look.
        reserved[model] = min(total, use[model].uncovered, missing)
        taken = min(reserved[model], free[model])
        free[model] -= taken
        missing -= taken
    for model in offered:
        more = min(missing, free[model])
        reserved[model] += more
        missing -= more
    return reserved
