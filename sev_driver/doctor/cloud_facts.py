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

"""What a cloud's API tells, as values, and what it would not tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sev_driver import asked, pools
from sev_driver.model import MemoryEncryptionModel
from sev_driver.traits import choose


@dataclasses.dataclass(frozen=True)
class Unread:
    """What was not told, and why.

    ``refused``: these credentials may not read it; else it could not be read, and
    ``remedy`` says what to do.
    """

    reason: str
    refused: bool = False
    remedy: str = "see that the service runs and answers, and try again"


@dataclasses.dataclass(frozen=True)
class Flavor:
    """Memory and swap in MiB, disks in GiB."""

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int
    extra_specs: Mapping[str, str]
    ephemeral: int = 0
    swap: int = 0

    @property
    def asked(self) -> asked.Flavor:
        return asked.Flavor(self.name, self.extra_specs)


@dataclasses.dataclass(frozen=True)
class Image:
    """``properties`` are those of glance, as text."""

    id: str
    name: str
    properties: Mapping[str, str]

    @property
    def asked(self) -> asked.Image:
        return asked.Image.of(f"image {self.name or self.id}", self.properties)


@dataclasses.dataclass(frozen=True)
class Compute:
    """A nova-compute: its ``host`` in nova.conf, its nodes' names in Placement."""

    host: str
    up: bool
    enabled: bool
    disabled_reason: str = ""
    nodes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pool:
    """A resource provider's slots, as Placement has them.

    ``found``: Nova from 32 on finds it, since it has its generation's trait.
    """

    provider: str
    root: str
    total: int
    reserved: int
    used: int
    found: bool = True

    @property
    def model(self) -> MemoryEncryptionModel:
        return pools.model_of(self.provider)

    @property
    def free(self) -> int:
        return max(0, self.total - self.reserved - self.used)

    @property
    def on_root(self) -> bool:
        return self.provider == self.root


@dataclasses.dataclass(frozen=True)
class Slots:
    """What Placement knows: each pool, and the names of nodes with a trait.

    ``nodes`` are all compute nodes, ``marked`` those with CUSTOM_AMD_SEV_HOST,
    ``disabled`` those with COMPUTE_STATUS_DISABLED. ``names`` are those of all
    resource providers, by their uuid.
    """

    pools: tuple[Pool, ...]
    nodes: frozenset[str]
    marked: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def offered(self) -> frozenset[MemoryEncryptionModel]:
        """Return the generations that any host has slots of, used or not."""
        return frozenset(p.model for p in self.pools if p.total > p.reserved)


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Each part, or why it was not read; ``nova`` is the release, such as 34."""

    nova: int
    flavors: tuple[Flavor, ...] | Unread
    images: tuple[Image, ...] | Unread
    computes: tuple[Compute, ...] | Unread
    slots: Slots | Unread

    @property
    def release(self) -> asked.Release:
        return release(self.nova)


#: The newest, taken for one that is newer still.
NEWEST_NOVA = 34

#: Nova's highest compute API microversion, and the releases that have it
#: (nova, rest_api_version_history.rst).
_RELEASES = ((95, (27, 28)), (96, (29, 30)), (100, (31, 32)), (103, (33,)))


def nova_releases(minor: int) -> tuple[int, ...]:
    """Return the releases whose compute API goes up to 2.``minor``."""
    for maximum, numbers in _RELEASES:
        if minor <= maximum:
            return numbers
    return (NEWEST_NOVA,)


def release(nova: int) -> asked.Release:
    """Return what of Nova's release ``nova`` decides what a guest gets."""
    others = frozenset({"intel-tdx"} if nova >= 34 else ())
    return asked.Release(nova >= 32, others)


def trait(model: MemoryEncryptionModel, nova: int) -> str:
    """Return the trait of a model's slots where Nova's release is ``nova``.

    os-traits has that of SEV-ES from Nova 31 on, and that of SEV-SNP from 34 on.
    """
    since = {
        MemoryEncryptionModel.AMD_SEV_ES: 31,
        MemoryEncryptionModel.AMD_SEV_SNP: 34,
    }
    return choose(model, nova >= since.get(model, 0)).wanted
