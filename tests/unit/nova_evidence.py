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
"""Hosts with a nova.conf, as the doctor has read them."""

import dataclasses

from host_facts import EVERYTHING

from sev_driver.doctor import nova_conf
from sev_driver.doctor.evidence import Evidence, Fact, Memory
from sev_driver.doctor.running_domains import RunningDomain
from sev_driver.facts import HostFacts

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
