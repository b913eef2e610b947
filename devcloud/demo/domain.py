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
"""What a running domain's XML says of its encryption: facts, and excerpts."""

import copy
import dataclasses

from lxml import etree

#: Devices that libvirt can put behind an IOMMU, as the guest's driver sees it.
_VIRTIO = (
    "disk[target/@bus='virtio'] | interface[model/@type='virtio'] | "
    "controller[@model='virtio-scsi' or @type='virtio-serial'] | "
    "input[@bus='virtio'] | video[model/@type='virtio'] | "
    "rng[@model='virtio'] | memballoon[@model='virtio'] | vsock | filesystem"
)


@dataclasses.dataclass(frozen=True)
class DomainFacts:
    """The parts of a domain that encryption shows in."""

    #: The type of launchSecurity: "sev"; None when there is none.
    launch_security: str | None
    policy: int | None
    machine: str
    loader: str | None
    locked: bool
    #: Its virtio devices, and whether each has iommu on.
    virtio: dict[str, bool]

    @classmethod
    def of(cls, xml: str) -> "DomainFacts":
        domain = etree.fromstring(xml)
        security = domain.find("launchSecurity")
        policy = domain.findtext("launchSecurity/policy")
        return cls(
            launch_security=None if security is None else security.get("type"),
            policy=None if policy is None else int(policy, 16),
            machine=domain.find("os/type").get("machine"),
            loader=domain.findtext("os/loader"),
            locked=domain.find("memoryBacking/locked") is not None,
            virtio={
                _name(device): device.find("driver[@iommu='on']") is not None
                for device in domain.find("devices").xpath(_VIRTIO)
            },
        )


def excerpt(xml: str) -> str:
    """The elements that the facts come from; of devices no more than a driver."""
    domain = etree.fromstring(xml)
    parts = [domain.find(path) for path in ("os/type", "os/loader", "memoryBacking")]
    parts += [_only_driver(d) for d in domain.find("devices").xpath(_VIRTIO)]
    parts.append(domain.find("launchSecurity"))
    return "\n".join(text_of(part) for part in parts if part is not None)


def _name(device: etree._Element) -> str:
    target = device.find("target")
    return device.tag if target is None else f"{device.tag} {target.get('dev')}"


def _only_driver(device: etree._Element) -> etree._Element:
    device = copy.deepcopy(device)
    for child in device:
        if child.tag not in ("driver", "target"):
            device.remove(child)
    return device


def text_of(element: etree._Element) -> str:
    """The element, indented as a document of its own."""
    element = copy.deepcopy(element)
    element.tail = None
    etree.indent(element, "  ")
    return etree.tostring(element, encoding="unicode")
