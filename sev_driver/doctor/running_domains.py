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
"""Running domains: what the doctor keeps of their XML, and what it says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from lxml import etree

from sev_driver import occupants, safe_xml
from sev_driver.domain_xml import parse as parse_domain
from sev_driver.exceptions import DetectionError, SevDriverError
from sev_driver.model import MemoryEncryptionModel

#: Nova's metadata, in the namespaces of all its releases.
_NOVAS = re.compile(r"\{http://openstack\.org/xmlns/libvirt/nova/[\d.]+\}instance")

#: All that is kept of a domain: no device, no path, no password.
_KEPT = ("uuid", "name", "memory", "launchSecurity/policy")


@dataclasses.dataclass(frozen=True)
class RunningDomain:
    """``memory_kib`` is None where the XML does not tell it in a unit known here.

    ``novas`` tells whether its metadata are those that Nova gives its servers, whose
    uuid is then the server's.
    """

    uuid: str
    name: str
    model: MemoryEncryptionModel | None
    memory_kib: int | None
    novas: bool = False


_UNITS = {"": 1, "k": 1, "KiB": 1, "M": 1024, "MiB": 1024, "G": 1 << 20, "GiB": 1 << 20}


def sift(texts: Iterable[str]) -> bytes:
    """Return what is needed of each domain's XML, as one document."""
    root = etree.Element("domains")
    for text in texts:
        try:
            domain = parse_domain(text)
        except SevDriverError:
            continue
        kept = etree.SubElement(root, "domain")
        if any(
            _NOVAS.fullmatch(str(each.tag)) for each in domain.iterfind("metadata/*")
        ):
            kept.set("nova", "yes")
        for path in _KEPT:
            _copy(domain, kept, path)
    return etree.tostring(root, pretty_print=True)


def _copy(domain: etree._Element, kept: etree._Element, path: str) -> None:
    name, _, child = path.partition("/")
    found = domain.find(name)
    if found is None:
        return
    copy = etree.SubElement(kept, name)
    for attribute, value in found.attrib.items():
        copy.set(attribute, value)
    if not child:
        copy.text = found.text
    elif (text := found.findtext(child)) is not None:
        etree.SubElement(copy, child).text = text


def parse(document: bytes) -> tuple[RunningDomain, ...]:
    """Read what :func:`sift` has kept.

    :raises DetectionError: it is not that.
    """
    try:
        root = safe_xml.parse(document)
        return tuple(_domain(element) for element in root.findall("domain"))
    except (safe_xml.UnsafeXML, SevDriverError) as error:
        raise DetectionError(f"running domains: {error}") from error


def _domain(element: etree._Element) -> RunningDomain:
    memory = element.find("memory")
    kib = None
    if memory is not None and (memory.text or "").strip().isdecimal():
        unit = _UNITS.get(memory.get("unit", ""))
        kib = None if unit is None else int((memory.text or "").strip()[:18]) * unit
    return RunningDomain(
        element.findtext("uuid") or "",
        element.findtext("name") or "",
        occupants.model_of(etree.tostring(element)),
        kib,
        element.get("nova") == "yes",
    )
