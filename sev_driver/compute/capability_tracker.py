# SPDX-License-Identifier: Apache-2.0

"""Track the capabilities of this host, and log changes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging

from sev_driver.compute import nova_compat
from sev_driver.conf import slots as slot_options
from sev_driver.host import kernel, memory
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.host.detection import detect
from sev_driver.host.facts import HostFacts
from sev_driver.host.libvirt_connection import LibvirtClient
from sev_driver.host.reader import HostReader
from sev_driver.observability import host_report

LOG = logging.getLogger(__name__)


class CapabilityTracker:
    """The current capabilities of this host.

    :param nova_host: Nova's libvirt Host, which holds the connection.
    """

    def __init__(self, nova_host: Any) -> None:
        self._nova_host = nova_host
        self._logged: HostCapabilities | None = None
        self._detected: tuple[HostFacts, bool, HostCapabilities] | None = None

    @functools.cached_property
    def _reader(self) -> HostReader:
        cpu = self._nova_host.get_capabilities().host.cpu
        return HostReader(CONF.libvirt.virt_type, cpu.arch, cpu.vendor or "")

    def current(self) -> HostCapabilities:
        """Return the current capabilities; the same object if nothing has changed."""
        facts = self.facts()
        # By setting a number of SEV-ES guests, the operator states that the SEV
        # firmware accepts them.
        es_beside_snp = bool(CONF.sev.num_sev_es_guests)
        last = self._detected
        if last is not None and last[0] is facts and last[1] == es_beside_snp:
            return last[2]
        now = detect(dataclasses.replace(facts, es_beside_snp=es_beside_snp))
        self._detected = facts, es_beside_snp, now
        if now != self._logged:
            self._logged = now
            self._log(now)
        return now

    def facts(self) -> HostFacts:
        """Return the facts of this host; the same object if nothing has changed."""
        client = LibvirtClient(nova_compat.connection_of(self._nova_host))
        return self._reader.read(client)

    def _log(self, now: HostCapabilities) -> None:
        ram = memory.HostMemory(
            kernel.read_memory_mib(),
            CONF.reserved_host_memory_mb,
            CONF.ram_allocation_ratio,
        )
        limits = slot_options.slot_limits(CONF)
        for level, text in host_report.lines(now, limits, ram):
            LOG.log(level, text)
