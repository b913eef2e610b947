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

"""What this host offers now, said in the log whenever it changes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging

from sev_driver import announcement, host, memory, slot_options
from sev_driver.capabilities import HostCapabilities
from sev_driver.detection import conclude

LOG = logging.getLogger(__name__)


class Watch:
    """:param nova_host: Nova's libvirt Host, which holds the connection."""

    def __init__(self, nova_host: Any) -> None:
        self._nova_host = nova_host
        self._announced: HostCapabilities | None = None

    @functools.cached_property
    def _reader(self) -> host.Reader:
        cpu = self._nova_host.get_capabilities().host.cpu
        return host.Reader(CONF.libvirt.virt_type, cpu.arch, cpu.vendor or "")

    def capabilities(self) -> HostCapabilities:
        facts = self._reader.read(self._nova_host.get_connection())
        # Whoever sets a number of SEV-ES guests knows that the firmware takes them.
        wanted = bool(CONF.sev.num_sev_es_guests)
        facts = dataclasses.replace(facts, es_beside_snp=wanted)
        now = conclude(facts)
        if now != self._announced:
            self._announced = now
            self._announce(now)
        return now

    def _announce(self, now: HostCapabilities) -> None:
        ram = memory.HostMemory(
            self._nova_host.get_memory_mb_total(),
            CONF.reserved_host_memory_mb,
            CONF.ram_allocation_ratio,
        )
        caps = slot_options.caps(CONF)
        for level, text in announcement.lines(now, caps, ram):
            LOG.log(level, text)
