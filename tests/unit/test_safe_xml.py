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

"""safe_xml: XML from outside cannot read files, reach out or fill memory."""

import contextlib
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver import safe_xml


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
    with pytest.raises(safe_xml.UnsafeXML):
        safe_xml.parse("<a>" * 10_000 + "</a>" * 10_000)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_anything_is_xml_or_unsafe_xml(data: bytes | str) -> None:
    with contextlib.suppress(safe_xml.UnsafeXML):
        safe_xml.parse(data)
