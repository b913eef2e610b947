# SPDX-License-Identifier: Apache-2.0

"""The part of libvirt's ``<domainCapabilities>`` that concerns SEV."""

from __future__ import annotations

import dataclasses
import re

from lxml import etree

from sev_driver import safe_xml
from sev_driver.exceptions import MalformedCapabilities, printable

#: A count as libvirt prints it: 32 bits, signed or unsigned.
_NUMBER = re.compile(r"\s*(-?\d{1,10})\s*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class DomainCapabilities:
    """The part of libvirt's domain capabilities that concerns SEV.

    ``max_guests`` and ``max_es_guests`` are numbers of ASIDs; None if libvirt is
    older than 8.0. ``sectypes`` are the types that ``<launchSecurity>`` can have;
    None if libvirt is older than 10.5 or leaves the list out. ``loaders`` are the
    firmware files that libvirt knows. ``host_model`` is the CPU model of guests with
    the mode host-model; None if libvirt names none.
    """

    sev: bool
    max_guests: int | None = None
    max_es_guests: int | None = None
    sectypes: frozenset[str] | None = None
    loaders: frozenset[str] = frozenset()
    host_model: str | None = None

    @classmethod
    def parse(cls, xml: str | bytes) -> DomainCapabilities:
        """Parse a ``<domainCapabilities>`` document.

        :raises MalformedCapabilities: ``xml`` is not such a document.
        """
        try:
            root = safe_xml.parse(xml)
        except safe_xml.UnsafeXML as error:
            raise MalformedCapabilities(f"domain capabilities: {error}") from error
        if root.tag != "domainCapabilities":
            raise MalformedCapabilities(
                f"domain capabilities: the document is <{printable(root.tag)}>"
            )
        found = cls(
            sev=False,
            sectypes=_sectypes(root),
            loaders=_loaders(root),
            host_model=_host_model(root),
        )
        sev = root.find("./features/sev")
        if sev is None or sev.get("supported") != "yes":
            return found
        return dataclasses.replace(
            found,
            sev=True,
            max_guests=_integer(sev.findtext("maxGuests"), "maxGuests"),
            max_es_guests=_integer(sev.findtext("maxESGuests"), "maxESGuests"),
        )

    @property
    def counts_nothing(self) -> bool:
        """True if libvirt reports no ASIDs at all.

        Every processor with SEV has ASIDs: libvirt reports none if it cannot read
        CPUID.
        """
        return self.max_guests == 0 and self.max_es_guests == 0


def _sectypes(root: etree._Element) -> frozenset[str] | None:
    element = root.find("./features/launchSecurity")
    if element is None:
        return None
    if element.get("supported") != "yes":
        return frozenset()
    values = element.find("./enum[@name='sectype']")
    if values is None:
        return None
    return frozenset((value.text or "").strip() for value in values.iter("value"))


def _loaders(root: etree._Element) -> frozenset[str]:
    found = root.iterfind("./os/loader/value")
    return frozenset(value.text for value in found if value.text)


def _host_model(root: etree._Element) -> str | None:
    found = root.findtext("./cpu/mode[@name='host-model'][@supported='yes']/model")
    return (found or "").strip() or None


def _integer(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    match = _NUMBER.fullmatch(text)
    number = int(match[1]) if match else None
    if number is None or not -(2**31) <= number < 2**32:
        raise MalformedCapabilities(
            f"domain capabilities: <{name}> is {text[:40]!r}, not a number of guests"
        )
    # libvirt subtracts unsigned numbers: a huge one is a negative one that wrapped.
    return number if number < 2**31 else number - 2**32
