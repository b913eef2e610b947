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
"""The XML of domains and devices, read and written."""

from __future__ import annotations

from lxml import etree

from sev_driver import safe_xml
from sev_driver.exceptions import DomainXMLError
from sev_driver.printable import printable


def parse(xml: str | bytes, *, indent: bool = False) -> etree._Element:
    """Return the root element; ``indent`` as in :func:`safe_xml.parse`.

    :raises DomainXMLError: ``xml`` is not XML, or not such as libvirt writes.
    """
    try:
        return safe_xml.parse(xml, indent=indent)
    except safe_xml.UnsafeXML as error:
        raise DomainXMLError(f"domain XML: {error}") from error


def parse_domain(xml: str | bytes, *, indent: bool = False) -> etree._Element:
    """Return the ``<domain>`` element; ``indent`` as in :func:`safe_xml.parse`.

    :raises DomainXMLError: ``xml`` is not a domain such as libvirt writes.
    """
    root = parse(xml, indent=indent)
    if root.tag != "domain":
        raise DomainXMLError(f"domain XML: the document is <{printable(root.tag)}>")
    return root


def required(parent: etree._Element, tag: str) -> etree._Element:
    """:raises DomainXMLError: ``parent`` has no child ``tag``."""
    element = parent.find(tag)
    if element is None:
        raise DomainXMLError(f"domain XML: <{parent.tag}> has no <{tag}>")
    return element


def ensure(parent: etree._Element, tag: str) -> etree._Element:
    """Return the child ``tag``, added at the end if there was none."""
    element = parent.find(tag)
    return etree.SubElement(parent, tag) if element is None else element
