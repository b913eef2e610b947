# SPDX-License-Identifier: Apache-2.0
"""Running domains by the hundred, at no cost: those of libvirt's test driver."""

from __future__ import annotations

import uuid
from typing import Any

import libvirt

_ACTIVE = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
_XML = """
<domain type='test'><name>guest{number}</name><uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory><os><type>hvm</type></os>{security}
</domain>"""
_SECURITY = """
  <launchSecurity type='sev'>
    <cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits><policy>0x33</policy>
  </launchSecurity>"""


class TestDomains:
    """They run in the same libvirtd as the host's own, behind another URI.

    :param uri: of the host.
    """

    __test__ = False

    def __init__(self, uri: str) -> None:
        _, _, where = uri.partition("///system")
        self._connection = libvirt.open(f"test+unix:///default{where}")
        # It comes with one of its own.
        for domain in self._connection.listAllDomains(_ACTIVE):
            domain.destroy()

    def start(self, count: int, encrypted: bool = False) -> list[str]:
        """Have that many run; return the uuids of those that are new."""
        started = []
        security = _SECURITY if encrypted else ""
        for number in range(len(self._connection.listAllDomains(_ACTIVE)), count):
            started.append(str(uuid.UUID(int=number + 1)))
            xml = _XML.format(number=number, uuid=started[-1], security=security)
            self._connection.createXML(xml)
        return started

    def show(self, connection: Any) -> None:
        """Have a connection to the host list these in place of the host's own."""
        connection.listAllDomains = self._connection.listAllDomains
        connection.listDomainsID = self._connection.listDomainsID
