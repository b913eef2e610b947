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

"""libvirt's ``<launchSecurity>`` for SEV and SEV-ES, as a value."""

import dataclasses

from lxml import etree

from sev_driver.policy import SevPolicy


@dataclasses.dataclass(frozen=True)
class LaunchSecurity:
    """``<launchSecurity type='sev'>``.

    ``cbitpos`` and ``reducedPhysBits`` are left out: they differ by host, and
    libvirt 6.9 and later fills them in from QEMU.
    """

    policy: SevPolicy

    def to_element(self) -> etree._Element:
        element = etree.Element("launchSecurity", type="sev")
        etree.SubElement(element, "policy").text = self.policy.format()
        return element

    @classmethod
    def from_element(cls, element: etree._Element) -> "LaunchSecurity":
        """:raises ValueError: another type, or no readable policy."""
        if element.get("type") != "sev":
            raise ValueError(f"launchSecurity of type {element.get('type')!r}")
        return cls(SevPolicy.parse(element.findtext("policy") or ""))
