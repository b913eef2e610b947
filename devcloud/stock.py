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
"""Stock Nova for comparisons, on a libvirt that refuses its UEFI guests."""

from typing import Any

from lxml import etree


def mend_loader() -> None:
    """Have Nova's own driver leave out an attribute that libvirt 9.0 refuses.

    Nova 34 writes ``loader/@secure`` beside ``os/@firmware``; on Debian 12 no
    UEFI guest of it starts. Without this there would be nothing to compare.
    """
    from nova.virt.libvirt.config import LibvirtConfigGuest

    original = LibvirtConfigGuest.format_dom

    def format_dom(guest: Any) -> etree._Element:
        root: etree._Element = original(guest)
        for loader in root.iterfind("os[@firmware]/loader[@secure]"):
            del loader.attrib["secure"]
        return root

    LibvirtConfigGuest.format_dom = format_dom
