# SPDX-License-Identifier: Apache-2.0
"""Asks everybody who counts slots."""

from __future__ import annotations

import collections
import configparser
import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import libvirt
import sqlalchemy

from devcloud.demo.domain import DomainFacts
from devcloud.multinode import config
from devcloud.multinode.power import ComputeHost
from devcloud.testing import SLOT
from sev_driver.guest.policy import SevPolicy
from soak.cloud import METRICS, SoakCloud, SoakError
from soak.tables import MODELS, PLAIN, SYMBOLS, Domain, Host, Look, Provider, Server

#: Of nova-compute, under load.
LONGEST_UPDATE = 120.0
#: One was under way when we began to wait, one began after it, and Placement has
#: been told of that one when the third has come to its end.
UPDATES = 3
_SLOTS = re.compile(
    r'^sev_driver_slots\{generation=".*",model="(.*)",state="(.*)"\} (\S+)$', re.M
)
_AUDIT = re.compile(r"^sev_driver_audit_failures_total (\S+)$", re.M)
_INSTANCES = "SELECT uuid, display_name, host, vm_state FROM instances WHERE deleted=0"
#: Their provider's name is the host's, and one of these.
_KINDS = {symbol: kind for kind, symbol in SYMBOLS.items()}


class Onlooker:
    """:param cloud: it runs."""

    def __init__(self, cloud: SoakCloud) -> None:
        self._cloud = cloud
        conf = configparser.RawConfigParser()
        conf.read(config.control_conf(cloud.cloud.layout))
        self._database = sqlalchemy.create_engine(conf["database"]["connection"])

    def look(self) -> Look:
        providers = self._providers()
        hosts = {
            name: self._host(host, providers[name])
            for name, host in self._cloud.hosts.items()
        }
        return Look(self._servers(), hosts)

    def await_updates(self) -> None:
        """Until what is so now has reached Placement, from every host.

        The driver's file of metrics is written anew with each update.
        """
        files = [_metrics(host) for host in self._cloud.hosts.values()]
        seen: dict[Any, set[int]] = collections.defaultdict(set)
        deadline = time.monotonic() + LONGEST_UPDATE
        while any(len(seen[file]) <= UPDATES for file in files):
            for file in files:
                if file.exists():
                    seen[file].add(file.stat().st_mtime_ns)
            if time.monotonic() > deadline:
                raise SoakError(f"a host has not updated for {LONGEST_UPDATE:.0f} s")
            time.sleep(0.1)  # nobody tells of a file's end here

    def close(self) -> None:
        self._database.dispose()

    def _servers(self) -> tuple[Server, ...]:
        with self._database.connect() as connection:
            rows = connection.execute(sqlalchemy.text(_INSTANCES)).all()
        return tuple(Server(*row) for row in rows)

    def _providers(self) -> dict[str, dict[str, Provider]]:
        """By host, and by generation: those that have slots."""
        placement = self._cloud.connection.placement
        found: dict[str, dict[str, Provider]] = collections.defaultdict(dict)
        for each in placement.resource_providers():
            host, _, symbol = each.name.partition("_")

            def ask(what: str, uuid: str = each.id) -> Any:
                return placement.get(f"/resource_providers/{uuid}/{what}").json()[what]

            slots = ask("inventories").get(SLOT)
            if slots:
                kind = _KINDS.get(symbol, each.name)
                found[host][kind] = _provider(slots, ask)
        return found

    def _host(self, host: ComputeHost, providers: Mapping[str, Provider]) -> Host:
        metrics = _metrics(host).read_text()
        told: dict[str, dict[str, int]] = collections.defaultdict(dict)
        kinds = {model: kind for kind, model in MODELS.items()}
        for model, state, number in _SLOTS.findall(metrics):
            told[kinds[model]][state] = int(float(number))
        (failures,) = _AUDIT.findall(metrics)
        with host.libvirt() as connection:
            domains = tuple(_domains(connection))
        held = host.slots_in_use()
        return Host(domains, providers, held, told, int(float(failures)))


def _provider(slots: Mapping[str, int], ask: Callable[[str], Any]) -> Provider:
    return Provider(
        total=slots["total"],
        reserved=slots["reserved"],
        used=ask("usages")[SLOT],
        holders=frozenset(
            consumer
            for consumer, record in ask("allocations").items()
            if SLOT in record["resources"]
        ),
    )


def _domains(connection: libvirt.virConnect) -> Iterator[Domain]:
    for domain in connection.listAllDomains():
        # One that goes meanwhile is none.
        with contextlib.suppress(libvirt.libvirtError):
            kind = kind_of(DomainFacts.of(domain.XMLDesc()))
            yield Domain(domain.UUIDString(), kind, bool(domain.isActive()))


def kind_of(facts: DomainFacts) -> str:
    """By its XML alone."""
    if facts.launch_security is None:
        return PLAIN
    if facts.launch_security == "sev-snp":
        return "snp"
    return "es" if (facts.policy or 0) & SevPolicy.ES else "sev"


def _metrics(host: ComputeHost) -> Any:
    return host.outside(METRICS)
