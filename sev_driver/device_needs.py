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
"""What each device of an encrypted guest needs to do DMA."""

from __future__ import annotations

from lxml import etree

from sev_driver import safe_xml
from sev_driver.domain_xml import ensure, parse


def complete(device: etree._Element) -> None:
    """Complete one device in place; done twice, it changes nothing more."""
    _disable_option_rom(device)
    _use_iommu(device)


def complete_xml(xml: str) -> str:
    """Return the XML of one device, about to be attached, completed.

    :raises DomainXMLError: ``xml`` is not XML.
    """
    device = parse(xml, indent=True)
    complete(device)
    return safe_xml.render(device)


def _disable_option_rom(device: etree._Element) -> None:
    """A network interface's iPXE cannot do DMA in encrypted memory."""
    if device.tag != "interface":
        return
    rom = ensure(device, "rom")
    for attribute in ("bar", "file"):
        rom.attrib.pop(attribute, "")
    rom.set("enabled", "no")


def _use_iommu(device: etree._Element) -> None:
    """A virtio device must not reach past the pages that the guest shares."""
    if _is_virtio(device):
        ensure(device, "driver").set("iommu", "on")


#: Where a device says that it is virtio: child element (None: the device
#: itself), attribute, accepted values.
_VIRTIO_MARKS: dict[str, tuple[str | None, str, frozenset[str]]] = {
    "disk": ("target", "bus", frozenset({"virtio"})),
    "interface": ("model", "type", frozenset({"virtio"})),
    "rng": (None, "model", frozenset({"virtio"})),
    "memballoon": (None, "model", frozenset({"virtio"})),
    "video": ("model", "type", frozenset({"virtio"})),
    "input": (None, "bus", frozenset({"virtio"})),
    "vsock": (None, "model", frozenset({"virtio"})),
}


def _is_virtio(device: etree._Element) -> bool:
    if device.tag == "controller":
        return device.get("type") == "virtio-serial" or (
            device.get("type") == "scsi" and device.get("model") == "virtio-scsi"
        )
    mark = _VIRTIO_MARKS.get(device.tag)
    if mark is None:
        return False
    child, attribute, values = mark
    element = device if child is None else device.find(child)
    return element is not None and element.get(attribute) in values
