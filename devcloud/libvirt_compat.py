# SPDX-License-Identifier: Apache-2.0
"""Lets Nova 34 run ordinary UEFI guests on Debian 12's libvirt 9.0.

Nova writes ``loader/@secure`` beside ``os/@firmware='efi'``, where the features
say the same. libvirt 9.0 refuses that, with any driver, so that neither stock
Nova nor an ordinary UEFI guest could be shown. Without the attribute libvirt
does what newer ones do with it.
"""

from typing import Any

import libvirt
from lxml import etree

#: The first libvirt known to take both.
TAKES_BOTH = 10_000_000
ACCEPTED = "plain UEFI guests start, which libvirt before 10.0 refuses"


def accept_loader_secure() -> bool:
    """Once in the process of a nova-compute, before it connects.

    :returns: whether this libvirt needs it
    """
    if libvirt.getVersion() >= TAKES_BOTH:
        return False
    define = libvirt.virConnect.defineXML

    def define_without_it(connection: Any, xml: str) -> Any:
        return define(connection, without_loader_secure(xml))

    libvirt.virConnect.defineXML = define_without_it
    return True


def without_loader_secure(xml: str) -> str:
    """The same domain; the very same text where there is nothing to leave out."""
    domain = etree.fromstring(xml)
    loader = domain.find("os[@firmware]/loader[@secure]")
    if loader is None:
        return xml
    del loader.attrib["secure"]
    return etree.tostring(domain, encoding="unicode")
