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

import dataclasses

from sev_driver import safe_xml
from sev_driver.exceptions import MalformedCapabilities


@dataclasses.dataclass(frozen=True)
class DomainCapabilities:
    """The part of libvirt's domain capabilities that concerns SEV.

    ``max_guests`` and ``max_es_guests`` are counts of ASIDs; None where libvirt
    is older than 8.0 and says nothing.
    """

    sev: bool
    max_guests: int | None = None
    max_es_guests: int | None = None

    @classmethod
    def parse(cls, xml: str | bytes) -> "DomainCapabilities":
        """Read a ``<domainCapabilities>`` document.

        :raises MalformedCapabilities: not such a document.
        """
        try:
            root = safe_xml.parse(xml)
        except safe_xml.UnsafeXML as error:
            raise MalformedCapabilities(f"domain capabilities: {error}") from error
        if root.tag != "domainCapabilities":
            raise MalformedCapabilities(
                f"domain capabilities: the document is <{root.tag}>"
            )
        sev = root.find("./features/sev")
        if sev is None or sev.get("supported") != "yes":
            return cls(sev=False)
        return cls(
            sev=True,
            max_guests=_integer(sev.findtext("maxGuests"), "maxGuests"),
            max_es_guests=_integer(sev.findtext("maxESGuests"), "maxESGuests"),
        )


def _integer(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise MalformedCapabilities(
            f"domain capabilities: <{name}> is {text[:40]!r}, not a number"
        ) from error
