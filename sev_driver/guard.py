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

from __future__ import annotations

from lxml import etree

from sev_driver import launch_security
from sev_driver.domain_xml import parse_domain
from sev_driver.exceptions import EncryptionLost
from sev_driver.model import MemoryEncryptionModel
from sev_driver.printable import printable


def check(
    model: MemoryEncryptionModel, xml: str | bytes, allow_debug: bool = False
) -> None:
    """Return if the domain of ``xml`` is encrypted by ``model``.

    :param allow_debug: whether the host may debug guests, and so read them.
    :raises EncryptionLost: it is not, or is by another generation, or is open to
        debugging.
    :raises DomainXMLError: ``xml`` is not a domain.
    """
    root = parse_domain(xml)
    elements = root.findall("./launchSecurity")
    fault = _fault(model, elements, allow_debug)
    if fault is not None:
        name = printable(root.findtext("./name") or "without a name")
        raise EncryptionLost(name, model, fault, in_the_clear=not elements)


def _fault(
    model: MemoryEncryptionModel, elements: list[etree._Element], allow_debug: bool
) -> str | None:
    if len(elements) != 1:
        return "no launchSecurity" if not elements else "more than one launchSecurity"
    kind = elements[0].get("type")
    if kind not in ("sev", "sev-snp"):
        return f"launchSecurity of type {(kind or '')[:40]!r}"
    try:
        found = launch_security.from_element(elements[0])
    except ValueError:
        return "a launchSecurity without a valid policy"
    policy = found.policy.format()
    if found.model is not model:
        return f"launchSecurity of {found.model.title} (policy {policy})"
    if found.policy.debug and not allow_debug:
        return f"policy {policy}, by which the host may debug it"
    return None
