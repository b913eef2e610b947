# SPDX-License-Identifier: Apache-2.0
"""Hosts with a nova.conf, as the doctor has read them."""

import dataclasses

from host_facts import EVERYTHING

from sev_driver.doctor.host import nova_conf
from sev_driver.doctor.host.domains import RunningDomain
from sev_driver.doctor.host.evidence import Evidence, Fact, Memory
from sev_driver.host.facts import HostFacts

PATH = "/etc/nova/nova.conf"


def evidence(
    conf: str = "",
    *,
    facts: HostFacts = EVERYTHING,
    domains: tuple[RunningDomain, ...] | None = (),
    misc_current: dict[str, int] | None = None,
    memory: tuple[int, int, int] = (262144, 250000, 0),
    memory_fact: Fact[Memory] | None = None,
    **changes: object,
) -> Evidence:
    """:param memory: MiB in total, available, and as huge pages."""
    kept = nova_conf.sift(conf.encode())
    read = Evidence(
        facts,
        read_as="root",
        domains=Fact(unknown="libvirt is down") if domains is None else Fact(domains),
        misc_current=misc_current or {},
        nova_files={"/usr/share/nova/nova-dist.conf": Fact(), PATH: Fact(kept)},
        options=nova_conf.in_force(nova_conf.parse(PATH, kept)),
        memory=memory_fact or Fact(Memory(*(mib * 1024 for mib in memory))),
    )
    return dataclasses.replace(read, **changes)  # type: ignore[arg-type]
