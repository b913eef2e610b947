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

import re
from typing import Any

from lxml import etree

from sev_driver.printable import printable

#: Far above any real domain (64 devices: 0.1 MB) and any capabilities document.
MAX_BYTES = 4 * 1024 * 1024

_BLANKS = re.compile(rb"[ \t\r\n]*")


class UnsafeXML(ValueError):
    """The text is not XML, or is XML of a kind that libvirt never writes."""


def parse(text: str | bytes, *, indent: bool = False) -> etree._Element:
    """Return the root element of ``text``.

    :param indent: forget white space between elements, so that :func:`render`
        can indent the whole document anew.
    :raises UnsafeXML: no XML in UTF-8, longer than :data:`MAX_BYTES`, nested deeper
        than libxml2 allows (256 elements in 2.14.6), or with a DOCTYPE.
    """
    _check_size(len(text))  # before a copy is made
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    _check_size(len(data))
    _refuse_doctype(data)
    parser = etree.XMLParser(
        # Whatever the document says it is in: none of iconv's many decoders is
        # reached, and what was looked at above is what is parsed.
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_blank_text=indent,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnsafeXML(f"not well-formed XML: {printable(str(error))}") from error
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype:
        raise UnsafeXML("XML with a DOCTYPE is refused")
    return root


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnsafeXML(f"{size} bytes of XML are more than {MAX_BYTES}")


def _refuse_doctype(data: bytes) -> None:
    """Look for a DOCTYPE where one can be, before libxml2 acts on what is in it.

    Older ones let attributes that it declares multiply, whatever is set.
    """
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    while True:
        at = _BLANKS.match(data, at).end()  # type: ignore[union-attr]
        if data.startswith(b"<!DOCTYPE", at):
            raise UnsafeXML("XML with a DOCTYPE is refused")
        if data.startswith(b"<?", at):
            end = data.find(b"?>", at) + 2
        elif data.startswith(b"<!--", at):
            end = data.find(b"-->", at + 4) + 3
        else:
            return
        if end <= at:
            return  # it has no end: not well-formed
        at = end


def render(root: etree._Element) -> str:
    """Return the document as indented text without a declaration, as Nova does."""
    return etree.tostring(root, encoding="unicode", pretty_print=True)
