# SPDX-License-Identifier: Apache-2.0
"""Domains of libvirt's test driver, which come and go at no cost beside real ones."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import libvirt

_XML = """
<domain type='test'><name>passer-by-{number}</name><uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory><os><type>hvm</type></os>{security}
</domain>"""
_SECURITY = """
  <launchSecurity type='sev'>
    <cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits><policy>0x33</policy>
  </launchSecurity>"""


class PassersBy:
    """One at a time, each with a uuid and a number of its own; half are encrypted.

    :param uri: of the host. They run in the same libvirtd, behind another URI.
    """

    def __init__(self, uri: str) -> None:
        _, _, where = uri.partition("///system")
        self._connection = libvirt.open(f"test+unix:///default{where}")
        # It comes with one of its own.
        for domain in self._connection.listAllDomains():
            domain.destroy()
        self._numbers = itertools.count(1)
        self._domain: Any = None

    def join(self, connection: Any) -> None:
        """Have a connection to the host list them after the host's own."""
        own, ours = connection.listAllDomains, self._connection.listAllDomains
        connection.listAllDomains = lambda flags=0: own(flags) + ours(flags)

    def change(self) -> None:
        """One goes, the next one comes."""
        if self._domain is not None:
            self._domain.destroy()
        number = next(self._numbers)
        self._domain = self._connection.createXML(
            _XML.format(
                number=number,
                uuid=uuid.UUID(int=number),
                security=_SECURITY if number % 2 else "",
            )
        )
