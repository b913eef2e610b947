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
"""libvirt's ``<domainCapabilities>``, as far as it concerns SEV."""

from __future__ import annotations

import dataclasses
import re

from lxml import etree

from sev_driver import safe_xml
from sev_driver.exceptions import MalformedCapabilities
from sev_driver.printable import printable

#: A count as libvirt prints it: of 32 bits, with a sign or without.
_NUMBER = re.compile(r"\s*(-?\d{1,10})\s*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class DomainCapabilities:
    """The part of libvirt's domain capabilities that concerns SEV.

    ``max_guests`` and ``max_es_guests`` are counts of ASIDs; None where libvirt
    is older than 8.0 and says nothing. ``sectypes`` are the types that a guest's
    ``<launchSecurity>`` can have; None where libvirt is older than 10.5, or leaves
    the list out. ``loaders`` are the firmware files that libvirt knows.
    """

    sev: bool
    max_guests: int | None = None
    max_es_guests: int | None = None
    sectypes: frozenset[str] | None = None
    loaders: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, xml: str | bytes) -> DomainCapabilities:
        """Read a ``<domainCapabilities>`` document.

        :raises MalformedCapabilities: not such a document.
        """
        try:
            root = safe_xml.parse(xml)
        except safe_xml.UnsafeXML as error:
            raise MalformedCapabilities(f"domain capabilities: {error}") from error
        if root.tag != "domainCapabilities":
            raise MalformedCapabilities(
                f"domain capabilities: the document is <{printable(root.tag)}>"
            )
        found = cls(sev=False, sectypes=_sectypes(root), loaders=_loaders(root))
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
        """Whether libvirt counts no ASID of any kind.

        No processor with SEV has none: it is what libvirt says, too, where it
        cannot read CPUID.
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


def _integer(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    match = _NUMBER.fullmatch(text)
    number = int(match[1]) if match else None
    if number is None or not -(2**31) <= number < 2**32:
        raise MalformedCapabilities(
            f"domain capabilities: <{name}> is {text[:40]!r}, not a number of guests"
        )
    # libvirt subtracts without a sign: what wrapped around is below zero.
    return number if number < 2**31 else number - 2**32
