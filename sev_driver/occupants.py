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


"""Which running domains hold an encryption key."""

from __future__ import annotations

from sev_driver.domain_xml import parse
from sev_driver.model import MemoryEncryptionModel
from sev_driver.policy import SevPolicy


def model_of(xml: str | bytes) -> MemoryEncryptionModel | None:
    """Return by which model the domain of ``xml`` is encrypted, None if by none.

    It may be anybody's domain, with a policy that this driver would not write.

    :raises DomainXMLError: ``xml`` is not a domain.
    """
    element = parse(xml).find("./launchSecurity")
    kind = None if element is None else element.get("type")
    if element is None or kind not in ("sev", "sev-snp"):
        return None
    if kind == "sev-snp":
        return MemoryEncryptionModel.AMD_SEV_SNP
    try:
        policy = int((element.findtext("policy") or "").strip(), 0)
    except ValueError:
        policy = 0
    # The ES bit is the only difference between the two generations in libvirt.
    if policy & SevPolicy.ES:
        return MemoryEncryptionModel.AMD_SEV_ES
    return MemoryEncryptionModel.AMD_SEV
