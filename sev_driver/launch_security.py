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

"""libvirt's ``<launchSecurity>`` for each generation, as values."""

from __future__ import annotations

import dataclasses
import re
from typing import Union

from lxml import etree

from sev_driver.model import MemoryEncryptionModel
from sev_driver.policy import SevPolicy, SnpPolicy

#: libvirt takes it for hexadecimal, with or without 0x. What it would not read as
#: we do, it is not given to read.
_POLICY = re.compile(r"(?:0x)?([0-9a-f]{1,16})", re.ASCII | re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class SevLaunchSecurity:
    """``<launchSecurity type='sev'>``, of SEV and of SEV-ES.

    ``cbitpos`` and ``reducedPhysBits`` are left out: they differ by host, and
    libvirt 6.9 and later fills them in from QEMU.
    """

    policy: SevPolicy

    @property
    def model(self) -> MemoryEncryptionModel:
        """The policy's ES bit is all that tells the two apart in libvirt."""
        if self.policy & SevPolicy.ES:
            return MemoryEncryptionModel.AMD_SEV_ES
        return MemoryEncryptionModel.AMD_SEV

    def to_element(self, kernel: bool = False) -> etree._Element:
        """:param kernel: whether the host loads the guest's kernel."""
        return _element("sev", self.policy.format())


@dataclasses.dataclass(frozen=True)
class SnpLaunchSecurity:
    """``<launchSecurity type='sev-snp'>`` (libvirt 10.5 and later).

    ``vcek`` has attestation reports signed by the chip's own key, ``author_key``
    tells the firmware that an author's key is part of the launch.
    """

    policy: SnpPolicy
    vcek: bool = True
    author_key: bool = False

    model = MemoryEncryptionModel.AMD_SEV_SNP

    def to_element(self, kernel: bool = False) -> etree._Element:
        """:param kernel: whether the host loads the guest's kernel. Its hash is
        then part of the measurement, or anything could have been loaded.
        """
        element = _element("sev-snp", self.policy.format())
        element.set("authorKey", _yes_no(self.author_key))
        element.set("vcek", _yes_no(self.vcek))
        element.set("kernelHashes", _yes_no(kernel))
        return element


LaunchSecurity = Union[SevLaunchSecurity, SnpLaunchSecurity]


def from_element(element: etree._Element) -> LaunchSecurity:
    """Read a ``<launchSecurity>``.

    :raises ValueError: a type that is not AMD's, or no readable policy.
    """
    kind = element.get("type")
    if kind == "sev":
        return SevLaunchSecurity(SevPolicy.of_number(policy_of(element)))
    if kind == "sev-snp":
        return SnpLaunchSecurity(
            SnpPolicy.of_number(policy_of(element)),
            vcek=element.get("vcek") != "no",
            author_key=element.get("authorKey") == "yes",
        )
    raise ValueError(f"launchSecurity of type {kind!r}")


def policy_of(element: etree._Element) -> int:
    """Return the number in the one ``<policy>`` of a ``<launchSecurity>``.

    :raises ValueError: it has none, or one that libvirt would not write.
    """
    policies = element.findall("policy")
    # With a comment within, libvirt reads on behind it.
    if len(policies) == 1 and len(policies[0]) == 0:
        match = _POLICY.fullmatch(policies[0].text or "")
        if match is not None:
            return int(match[1], 16)
    raise ValueError("launchSecurity without one policy as a hexadecimal number")


def _element(kind: str, policy: str) -> etree._Element:
    element = etree.Element("launchSecurity", type=kind)
    etree.SubElement(element, "policy").text = policy
    return element


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
