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

"""XML from outside, read without entities, network or unbounded size."""

from __future__ import annotations

from typing import Any

from lxml import etree

#: Far above any real domain (64 devices: 0.1 MB) and any capabilities document.
MAX_BYTES = 4 * 1024 * 1024


class UnsafeXML(ValueError):
    """The text is not XML, or is XML of a kind that libvirt never writes."""


def parse(text: str | bytes, *, indent: bool = False) -> etree._Element:
    """Return the root element of ``text``.

    :param indent: forget white space between elements, so that :func:`render`
        can indent the whole document anew.
    :raises UnsafeXML: no XML, longer than :data:`MAX_BYTES`, or with a DOCTYPE.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_BYTES:
        raise UnsafeXML(f"{len(data)} bytes of XML are more than {MAX_BYTES}")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_blank_text=indent,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnsafeXML(f"not well-formed XML: {error}") from error
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype:
        raise UnsafeXML("XML with a DOCTYPE is refused")
    return root


def render(root: etree._Element) -> str:
    """Return the document as indented text without a declaration, as Nova does."""
    return etree.tostring(root, encoding="unicode", pretty_print=True)
