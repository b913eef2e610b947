# SPDX-License-Identifier: Apache-2.0

"""A parser for untrusted XML: without entities, network access or unbounded size."""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from sev_driver.exceptions import printable

#: Far above any real domain (64 devices: 0.1 MB) and any capabilities document.
MAX_BYTES = 4 * 1024 * 1024

_BLANKS = re.compile(rb"[ \t\r\n]*")


class UnsafeXML(ValueError):
    """The text is not XML, or has features that libvirt never uses."""


def parse(text: str | bytes, *, indent: bool = False) -> etree._Element:
    """Return the root element of ``text``.

    :param indent: drop white space between elements, so that :func:`render`
        can indent the whole document.
    :raises UnsafeXML: the text is not XML in UTF-8, is longer than
        :data:`MAX_BYTES`, is nested deeper than libxml2 allows (256 elements in
        2.14.6), or has a DOCTYPE.
    """
    _check_size(len(text))  # before a copy is made
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    _check_size(len(data))
    _refuse_doctype(data)
    parser = etree.XMLParser(
        # Overrides the encoding that the document declares. So no other decoder of
        # iconv is used, and the text checked above is the text that is parsed.
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
    """Raise UnsafeXML if a DOCTYPE precedes the root element.

    This must happen before libxml2 parses the text: old versions expand the
    attributes that a DOCTYPE declares, whatever the parser's options.
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
            return  # it has no end: the parser rejects it
        at = end


def render(root: etree._Element) -> str:
    """Return the document as indented text without a declaration, as Nova does."""
    return etree.tostring(root, encoding="unicode", pretty_print=True)
