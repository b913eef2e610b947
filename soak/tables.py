# SPDX-License-Identifier: Apache-2.0
"""What those who count slots have said, at one time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

PLAIN = "plain"
#: A generation's word here, and in the name of its resource provider.
SYMBOLS = {"sev": "amd_sev", "es": "amd_sev_es", "snp": "amd_sev_snp"}
#: Its word in the driver's metrics.
MODELS = {"sev": "amd-sev", "es": "amd-sev-es", "snp": "amd-sev-snp"}
#: The simulator's word for the keys that its guests take theirs from.
POOLS = {"sev": "sev", "es": "sev_es_snp", "snp": "sev_es_snp"}


@dataclasses.dataclass(frozen=True)
class Server:
    """A row of Nova's database; its name begins with its kind."""

    uuid: str
    name: str
    host: str | None
    #: vm_state: active, stopped.
    state: str

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]


@dataclasses.dataclass(frozen=True)
class Domain:
    """One of libvirt's. Its kind is what it runs as, by its own XML."""

    uuid: str
    kind: str
    running: bool


@dataclasses.dataclass(frozen=True)
class Provider:
    """Slots in Placement."""

    total: int
    reserved: int
    #: As Placement itself adds them up.
    used: int
    #: Who has an allocation.
    holders: frozenset[str]

    @property
    def free(self) -> int:
        return self.total - self.reserved - self.used


@dataclasses.dataclass(frozen=True)
class Host:
    """One host, by all but Nova's database."""

    domains: tuple[Domain, ...]
    #: By generation; one that is none's, by its own name.
    providers: Mapping[str, Provider]
    #: Keys that live QEMUs hold, by pool: the simulator's own count.
    held: Mapping[str, int]
    #: What the driver tells monitoring, by generation: used, free, reserved, lost.
    told: Mapping[str, Mapping[str, int]]
    #: Guests that the driver's audit has found in the clear.
    unencrypted: int = 0


@dataclasses.dataclass(frozen=True)
class Look:
    """All that was said."""

    servers: tuple[Server, ...]
    hosts: Mapping[str, Host]

    def free(self, kind: str) -> int:
        """Slots of a generation that Placement would give away, on all hosts."""
        return sum(host.providers[kind].free for host in self.hosts.values())


@dataclasses.dataclass(frozen=True)
class Stranger:
    """An encrypted guest of which Nova does not know."""

    uuid: str
    host: str
    kind: str


@dataclasses.dataclass(frozen=True)
class Expected:
    """What we know ourselves: we have made all of it."""

    #: Slots that each host offers of each generation.
    totals: Mapping[str, int]
    #: Servers by their uuid, and the state that they were brought to.
    states: Mapping[str, str]
    strangers: tuple[Stranger, ...] = ()
    #: Servers that were refused and are not deleted yet: they may hold nothing.
    refused: frozenset[str] = frozenset()
