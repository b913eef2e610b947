# SPDX-License-Identifier: Apache-2.0

"""safe_xml: XML from outside cannot read files, reach out or fill memory."""

import contextlib
import pathlib
import socket
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver import safe_xml

DOCTYPE = b"<!DOCTYPE a [<!ATTLIST b c CDATA 'many times'>]><a><b/></a>"


def test_parse_and_render() -> None:
    root = safe_xml.parse("<a>\n<b/></a>", indent=True)
    assert safe_xml.render(root) == "<a>\n  <b/>\n</a>\n"


def test_a_file_is_not_read_through_an_entity(tmp_path: pathlib.Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    xml = f'<!DOCTYPE a [<!ENTITY e SYSTEM "file://{secret}">]><a>&e;</a>'
    with pytest.raises(safe_xml.UnsafeXML):
        safe_xml.parse(xml)


def test_entities_do_not_multiply() -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    with pytest.raises(safe_xml.UnsafeXML):
        safe_xml.parse(f'<!DOCTYPE a [<!ENTITY l0 "l">{laughs}]><a>&l9;</a>')


def test_size_and_depth_are_bounded() -> None:
    with pytest.raises(safe_xml.UnsafeXML, match="bytes of XML"):
        safe_xml.parse("<a>" + " " * safe_xml.MAX_BYTES + "</a>")
    for depth in (10_000, 100_000):
        with pytest.raises(safe_xml.UnsafeXML):
            safe_xml.parse("<a>" * depth + "</a>" * depth)


#: The same document, in ways to hide what is in it; with a DOCTYPE or without.
HIDDEN = {
    "as it is": DOCTYPE,
    "behind a mark": b"\xef\xbb\xbf" + DOCTYPE,
    "behind blanks": b" \t\r\n" + DOCTYPE,
    "behind a declaration": b"<?xml version='1.0'?>" + DOCTYPE,
    "behind comments": b"<?a?><!-- > --><!-- <a> -->\n" + DOCTYPE,
    "UTF-16": DOCTYPE.decode().encode("utf-16"),
    "UTF-16 without a mark": DOCTYPE.decode().encode("utf-16-le"),
    "UTF-32": DOCTYPE.decode().encode("utf-32"),
    "UTF-7": b"<?xml version='1.0' encoding='UTF-7'?>"
    + DOCTYPE.decode().encode("utf-7"),
    "EBCDIC": ("<?xml version='1.0' encoding='cp037'?>" + DOCTYPE.decode()).encode(
        "cp037"
    ),
}


@pytest.mark.parametrize("way", HIDDEN)
def test_a_doctype_is_found_wherever_it_hides(way: str) -> None:
    with pytest.raises(safe_xml.UnsafeXML):
        safe_xml.parse(HIDDEN[way])


def test_a_doctype_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(safe_xml.UnsafeXML, match="DOCTYPE is refused"):
        safe_xml.parse("<!-- --><!DOCTYPE a [<this is none>")


@pytest.mark.parametrize(
    "xml",
    [
        "<!-- <!DOCTYPE a> --><a/>",
        "<?b <!DOCTYPE a> ?><a/>",
        "<a><![CDATA[<!DOCTYPE a>]]></a>",
        "<a>&lt;!DOCTYPE a&gt;</a>",
    ],
)
def test_the_word_doctype_alone_is_none(xml: str) -> None:
    assert safe_xml.parse(xml).tag == "a"


@pytest.mark.parametrize(
    "declared", ["UTF-7", "UTF-16", "ISO-2022-CN-EXT", "IBM1047", "nonsense"]
)
def test_no_other_encoding_is_decoded(declared: str) -> None:
    """The document is UTF-8, whatever it says: iconv does not get to see it."""
    xml = f"<?xml version='1.0' encoding='{declared}'?><a>+AGI-</a>"
    for document in (xml, xml.encode()):
        try:
            assert safe_xml.parse(document).text == "+AGI-"
        except safe_xml.UnsafeXML as error:
            assert "not well-formed" in str(error)


@pytest.mark.parametrize(
    "xml", [b"<a>\0</a>", b"<a>&#0;</a>", b"<a\0/>", b"<a>\xff</a>", "<a>\udc80</a>"]
)
def test_what_no_text_can_hold(xml: bytes | str) -> None:
    with pytest.raises(safe_xml.UnsafeXML) as caught:
        safe_xml.parse(xml)
    assert str(caught.value).isprintable()


def test_a_text_that_is_too_long_is_not_copied_first() -> None:
    xml = f"<a b='{'x' * 100_000_000}'/>"
    tracemalloc.start()
    try:
        with pytest.raises(safe_xml.UnsafeXML, match="bytes of XML"):
            safe_xml.parse(xml)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_nobody_is_called() -> None:
    """Whatever a DOCTYPE refers to, nothing connects to where it points."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.dtd"
        for doctype in (
            f"<!DOCTYPE a SYSTEM '{url}'>",
            f"<!DOCTYPE a PUBLIC '-//A//B' '{url}'>",
            f"<!DOCTYPE a [<!ENTITY % b SYSTEM '{url}'> %b;]>",
            f"<!DOCTYPE a [<!ENTITY b SYSTEM '{url}'>]>",
        ):
            with pytest.raises(safe_xml.UnsafeXML):
                safe_xml.parse(f"{doctype}<a>&b;</a>")
        include = "xmlns:i='http://www.w3.org/2001/XInclude'"
        for xml in (
            f"<a {include}><i:include href='{url}'/></a>",
            f"<?xml-stylesheet href='{url}'?><a/>",
            f"<a xmlns:s='http://www.w3.org/2001/XMLSchema-instance' "
            f"s:noNamespaceSchemaLocation='{url}'/>",
        ):
            safe_xml.parse(xml)
        with pytest.raises(TimeoutError):
            server.accept()


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_anything_is_xml_or_unsafe_xml(data: bytes | str) -> None:
    with contextlib.suppress(safe_xml.UnsafeXML):
        safe_xml.parse(data)
