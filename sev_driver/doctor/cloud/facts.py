# SPDX-License-Identifier: Apache-2.0

"""What a cloud's APIs say, as values, and what could not be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sev_driver.guest.request import FlavorSpecs, ImageProperties
from sev_driver.model import MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease
from sev_driver.placement import providers
from sev_driver.placement.providers import choose


@dataclasses.dataclass(frozen=True)
class Unavailable:
    """What could not be read, and why.

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
    def asked(self) -> FlavorSpecs:
        return FlavorSpecs(self.name, self.extra_specs)


@dataclasses.dataclass(frozen=True)
class Image:
    """``properties`` are those of glance, as text."""

    id: str
    name: str
    properties: Mapping[str, str]

    @property
    def asked(self) -> ImageProperties:
        return ImageProperties.of(f"image {self.name or self.id}", self.properties)


@dataclasses.dataclass(frozen=True)
class Server:
    """``image`` is its image's id, or empty where it boots from a volume.

    ``model`` is the ``hw_mem_encryption_model`` that Nova keeps with it; None where it
    keeps none, or its API does not show it.
    """

    id: str
    name: str
    image: str = ""
    model: str | None = None


@dataclasses.dataclass(frozen=True)
class Compute:
    """A nova-compute: its ``host`` in nova.conf, its nodes' names in Placement.

    ``cpu_models`` are libvirt's names of the nodes' processors, such as EPYC-Milan, by
    node; a node is missing if its processor is unknown.
    """

    host: str
    up: bool
    enabled: bool
    disabled_reason: str = ""
    nodes: tuple[str, ...] = ()
    cpu_models: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Pool:
    """A resource provider's slots, as Placement has them.

    ``found``: Nova from 32 on finds it, since it has its model's trait. ``firmware`` is
    the trait that names the guest firmware for SEV-SNP, empty if it has none.
    """

    provider: str
    root: str
    total: int
    reserved: int
    used: int
    found: bool = True
    firmware: str = ""

    @property
    def model(self) -> MemoryEncryptionModel:
        return providers.model_of_provider(self.provider)

    @property
    def free(self) -> int:
        return max(0, self.total - self.reserved - self.used)

    @property
    def on_root(self) -> bool:
        return self.provider == self.root


@dataclasses.dataclass(frozen=True)
class CloudSlots:
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
        """Return the models of which any host has slots, used or not."""
        return frozenset(p.model for p in self.pools if p.total > p.reserved)

    def roots(self, model: MemoryEncryptionModel | None = None) -> frozenset[str]:
        """Return the hosts that have slots of ``model``, of any where it is None."""
        return frozenset(
            p.root
            for p in self.pools
            if p.total > p.reserved and model in (None, p.model)
        )


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Each part, or why it was not read; ``nova`` is the release, such as 34."""

    nova: int
    flavors: tuple[Flavor, ...] | Unavailable
    images: tuple[Image, ...] | Unavailable
    computes: tuple[Compute, ...] | Unavailable
    slots: CloudSlots | Unavailable
    #: Read only where some of them may be a danger to an upgrade.
    servers: tuple[Server, ...] | Unavailable = ()
    #: By a flavor's id, whether Placement has room for a guest of it now; of the
    #: flavors for which it was asked.
    has_room: Mapping[str, bool | Unavailable] = dataclasses.field(default_factory=dict)

    @property
    def release(self) -> NovaRelease:
        return NovaRelease(self.nova)


def trait(model: MemoryEncryptionModel, nova: int) -> str:
    """Return the trait of a model's slots where Nova's release is ``nova``."""
    return choose(model, NovaRelease(nova).has_standard_trait(model)).wanted
