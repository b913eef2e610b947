# SPDX-License-Identifier: Apache-2.0
"""What a running domain's XML says of its encryption: facts, and excerpts."""

import copy
import dataclasses
from typing import cast

from lxml import etree

#: Devices that libvirt can put behind an IOMMU, as the guest's driver sees it.
_VIRTIO = "|".join(
    f"devices/{device}"
    for device in (
        "disk[target/@bus='virtio']",
        "interface[model/@type='virtio']",
        "controller[@model='virtio-scsi' or @type='virtio-serial']",
        "input[@bus='virtio']",
        "video[model/@type='virtio']",
        "rng[@model='virtio']",
        "memballoon[@model='virtio']",
        "vsock",
        "filesystem",
    )
)


@dataclasses.dataclass(frozen=True)
class DomainFacts:
    """The parts of a domain that encryption shows in."""

    #: The type of launchSecurity: "sev"; None when there is none.
    launch_security: str | None
    policy: int | None
    machine: str
    loader: str | None
    #: How the firmware is mapped: "pflash", or "rom".
    loader_type: str | None
    locked: bool
    #: Its virtio devices, and whether each has iommu on.
    virtio: dict[str, bool]

    @classmethod
    def of(cls, xml: str) -> "DomainFacts":
        domain = etree.fromstring(xml)
        policy = domain.findtext("launchSecurity/policy")
        return cls(
            launch_security=_attribute(domain, "launchSecurity", "type"),
            policy=None if policy is None else int(policy, 16),
            machine=_attribute(domain, "os/type", "machine") or "",
            loader=domain.findtext("os/loader"),
            loader_type=_attribute(domain, "os/loader", "type"),
            locked=domain.find("memoryBacking/locked") is not None,
            virtio={
                _name(device): device.find("driver[@iommu='on']") is not None
                for device in _virtio(domain)
            },
        )


def excerpt(xml: str) -> str:
    """The elements that the facts come from; of devices no more than a driver."""
    domain = etree.fromstring(xml)
    parts = [domain.find(path) for path in ("os/type", "os/loader", "memoryBacking")]
    parts += [_only_driver(device) for device in _virtio(domain)]
    parts.append(domain.find("launchSecurity"))
    return "\n".join(text_of(part) for part in parts if part is not None)


def _virtio(domain: etree._Element) -> list[etree._Element]:
    return cast("list[etree._Element]", domain.xpath(_VIRTIO))


def _attribute(domain: etree._Element, path: str, name: str) -> str | None:
    element = domain.find(path)
    return None if element is None else element.get(name)


def _name(device: etree._Element) -> str:
    target = device.find("target")
    return device.tag if target is None else f"{device.tag} {target.get('dev')}"


def _only_driver(device: etree._Element) -> etree._Element:
    device = copy.deepcopy(device)
    for child in device:
        if child.tag not in ("driver", "target"):
            device.remove(child)
    if not len(device):
        device.text = None
    return device


def text_of(element: etree._Element) -> str:
    """The element, indented as a document of its own."""
    element = copy.deepcopy(element)
    element.tail = None
    etree.indent(element, "  ")
    return etree.tostring(element, encoding="unicode")
