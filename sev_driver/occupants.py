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


"""Who holds encryption keys: domains by their XML, others by the kernel's count."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping

from sev_driver import launch_security, misc_cgroup
from sev_driver.domain_xml import parse_domain
from sev_driver.model import MemoryEncryptionModel
from sev_driver.policy import SevPolicy


def model_of(xml: str | bytes) -> MemoryEncryptionModel | None:
    """Return by which model the domain of ``xml`` is encrypted, None if by none.

    It may be anybody's domain, with a policy that this driver would not write.

    :raises DomainXMLError: ``xml`` is not a domain.
    """
    element = parse_domain(xml).find("./launchSecurity")
    kind = None if element is None else element.get("type")
    if element is None or kind not in ("sev", "sev-snp"):
        return None
    if kind == "sev-snp":
        return MemoryEncryptionModel.AMD_SEV_SNP
    try:
        policy = launch_security.policy_of(element)
    except ValueError:
        policy = 0
    # The ES bit is the only difference between the two generations in libvirt.
    if policy & SevPolicy.ES:
        return MemoryEncryptionModel.AMD_SEV_ES
    return MemoryEncryptionModel.AMD_SEV


def unseen(
    running: Iterable[MemoryEncryptionModel], *looks: Mapping[str, int]
) -> collections.Counter[MemoryEncryptionModel]:
    """Return the guests that the kernel counts beyond those that libvirt runs.

    :param running: the models of libvirt's.
    :param looks: what ``misc.current`` said before and after libvirt was asked:
        of a guest that comes or goes meanwhile, the two know different things, and
        only what both have is sure. The kernel does not tell SEV-ES from SEV-SNP;
        what is more there is put down to SEV-ES.
    """
    models = list(running)
    plain = models.count(MemoryEncryptionModel.AMD_SEV)
    more: collections.Counter[MemoryEncryptionModel] = collections.Counter()
    for key, model, known in (
        (misc_cgroup.SEV, MemoryEncryptionModel.AMD_SEV, plain),
        (misc_cgroup.SEV_ES, MemoryEncryptionModel.AMD_SEV_ES, len(models) - plain),
    ):
        more[model] = min((look.get(key, 0) for look in looks), default=0) - known
    return +more
