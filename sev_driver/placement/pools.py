# SPDX-License-Identifier: Apache-2.0

"""The pools of ASIDs that models share, and their sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel

#: The models that share the ASIDs below those of plain SEV.
_SHARING = (SEV_ES, SEV_SNP)


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool of ASIDs for guests of ``models``; ``size`` is None if unknown."""

    models: tuple[MemoryEncryptionModel, ...]
    size: int | None

    @property
    def is_shared(self) -> bool:
        """True if guests of several models use the pool."""
        return len(self.models) > 1


@dataclasses.dataclass(frozen=True)
class Pools:
    """All pools of a host. Each model is in one pool, also if it is not supported."""

    pools: tuple[Pool, ...]

    def __iter__(self) -> Iterator[Pool]:
        return iter(self.pools)

    def of(self, model: MemoryEncryptionModel) -> Pool:
        """Return the pool of ``model``.

        :raises KeyError: the host's capabilities do not include the model.
        """
        for pool in self.pools:
            if model in pool.models:
                return pool
        raise KeyError(model)


def pools_of(host: HostCapabilities) -> Pools:
    """Return the pools of a host.

    SEV-ES and SEV-SNP share one, unless the kernel divides it for ciphertext hiding:
    then the slots of both add up to no more than its size.
    """
    pools = [Pool((SEV,), host[SEV].slots)] if SEV in host else []
    models = tuple(model for model in _SHARING if model in host)
    slots = [host[model].slots for model in models]
    # The shared pool has at least as many slots as either model.
    known = [number for number in slots if number is not None]
    size = host.shared_slots
    if size is None:
        size = max(known, default=None)
    is_divided = len(models) > 1 and all(slots) and sum(known) <= (size or 0)
    if is_divided:
        pools += [Pool((model,), host[model].slots) for model in models]
    elif models:
        pools.append(Pool(models, size))
    return Pools(tuple(pools))
