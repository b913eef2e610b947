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

from sev_driver import announcement, host, kernel, memory, slot_options
from sev_driver.capabilities import HostCapabilities
from sev_driver.detection import conclude
from sev_driver.facts import HostFacts

LOG = logging.getLogger(__name__)


class Watch:
    """:param nova_host: Nova's libvirt Host, which holds the connection."""

    def __init__(self, nova_host: Any) -> None:
        self._nova_host = nova_host
        self._announced: HostCapabilities | None = None
        self._judged: tuple[HostFacts, bool, HostCapabilities] | None = None

    @functools.cached_property
    def _reader(self) -> host.Reader:
        cpu = self._nova_host.get_capabilities().host.cpu
        return host.Reader(CONF.libvirt.virt_type, cpu.arch, cpu.vendor or "")

    @property
    def _connection(self) -> Any:
        """Nova's, which it drops when libvirt closes it.

        Its own getter asks libvirt each time whether it is there: a call that
        nothing here needs, for a connection that is not used.
        """
        held = getattr(self._nova_host, "_wrapped_conn", None)
        return self._nova_host.get_connection() if held is None else held

    def capabilities(self) -> HostCapabilities:
        facts = self._reader.read(self._connection)
        # Whoever sets a number of SEV-ES guests knows that the firmware takes them.
        wanted = bool(CONF.sev.num_sev_es_guests)
        judged = self._judged
        if judged is not None and judged[0] is facts and judged[1] == wanted:
            return judged[2]
        now = conclude(dataclasses.replace(facts, es_beside_snp=wanted))
        self._judged = facts, wanted, now
        if now != self._announced:
            self._announced = now
            self._announce(now)
        return now

    def _announce(self, now: HostCapabilities) -> None:
        ram = memory.HostMemory(
            kernel.read_memory_mib(),
            CONF.reserved_host_memory_mb,
            CONF.ram_allocation_ratio,
        )
        caps = slot_options.caps(CONF)
        for level, text in announcement.lines(now, caps, ram):
            LOG.log(level, text)
