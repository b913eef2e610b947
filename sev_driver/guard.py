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

"""The last look at a domain before it starts: is it encrypted as asked?"""

from lxml import etree

from sev_driver.domain_xml import parse
from sev_driver.exceptions import EncryptionLost
from sev_driver.launch_security import LaunchSecurity
from sev_driver.model import MemoryEncryptionModel
from sev_driver.policy import SevPolicy

_TYPES = {
    MemoryEncryptionModel.AMD_SEV: "sev",
    MemoryEncryptionModel.AMD_SEV_ES: "sev",
    MemoryEncryptionModel.AMD_SEV_SNP: "sev-snp",
}


def check(model: MemoryEncryptionModel, xml: str | bytes) -> None:
    """Return if the domain of ``xml`` is encrypted by ``model``.

    :raises EncryptionLost: it is not, or is by another generation.
    :raises DomainXMLError: ``xml`` is not a domain.
    """
    root = parse(xml)
    fault = _fault(model, root.findall("./launchSecurity"))
    if fault is not None:
        raise EncryptionLost(root.findtext("./name") or "without a name", model, fault)


def _fault(model: MemoryEncryptionModel, elements: list[etree._Element]) -> str | None:
    if len(elements) != 1:
        return "no launchSecurity" if not elements else "more than one launchSecurity"
    kind, wanted = elements[0].get("type"), _TYPES[model]
    if kind != wanted:
        return f"launchSecurity of type {kind!r} in place of {wanted!r}"
    if wanted == "sev-snp":
        return None
    try:
        policy = LaunchSecurity.from_element(elements[0]).policy
    except ValueError:
        return "a launchSecurity without a valid policy"
    # The ES bit is the only difference between the two generations in libvirt.
    if (model is MemoryEncryptionModel.AMD_SEV_ES) != bool(policy & SevPolicy.ES):
        return f"policy {policy.format()}, of another SEV generation"
    return None
