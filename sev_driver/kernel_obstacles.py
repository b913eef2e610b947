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
"""What in the kernel, and in the secure processor below it, keeps a model off."""

from __future__ import annotations

from sev_driver import slot_counts
from sev_driver.capabilities import Hindrance, Obstacle
from sev_driver.facts import HostFacts, KvmParameter, Version
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel
from sev_driver.printable import printable

#: The first kernel whose kvm_amd has the parameter.
KERNELS = {SEV: "4.16", SEV_ES: "5.11", SEV_SNP: "6.11"}

#: The first kernel whose /dev/kvm asks the firmware whether it takes SEV-ES.
_KERNEL_THAT_ASKS: Version = (7, 2, 0)


def parameter_of(model: MemoryEncryptionModel, facts: HostFacts) -> KvmParameter:
    """Return the kernel's parameter that switches ``model``."""
    parameters = facts.parameters
    return {
        SEV: parameters.sev,
        SEV_ES: parameters.sev_es,
        SEV_SNP: parameters.sev_snp,
    }[model]


def parameter(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    own = parameter_of(model, facts)
    if model is not SEV:
        parent = _switch(SEV, facts.parameters.sev)
        # The kernel turns all models off with the first one: where that cannot be
        # read, the model's own parameter tells enough.
        if parent is not None and not (facts.parameters.sev.error and own.enabled):
            return parent
    return _switch(model, own)


def _switch(model: MemoryEncryptionModel, parameter: KvmParameter) -> Hindrance | None:
    path = parameter.path
    if parameter.error is not None:
        found = f"{path} cannot be read ({parameter.error})"
        remedy = "let nova-compute read it"
        return Hindrance(Obstacle.PARAMETER_UNREADABLE, found, remedy)
    if parameter.text is None:
        remedy = f"load kvm_amd, of a kernel of {KERNELS[model]} or later"
        found = f"{path} does not exist"
        return Hindrance(Obstacle.PARAMETER_MISSING, found, remedy)
    if not parameter.enabled:
        found = f"{path} is {printable(parameter.text.strip(), 40) or 'empty'}"
        title = model.title.removeprefix("AMD ")
        name = title.lower().replace("-", "_")
        remedy = f"enable {title} in the firmware set-up and load kvm_amd with {name}=1"
        return Hindrance(Obstacle.PARAMETER_OFF, found, remedy)
    return None


def device(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    if facts.device.present is not False:
        return None
    found = "there is no /dev/sev though the kernel has it on"
    remedy = "see dmesg for why ccp cannot use the secure processor"
    return Hindrance(Obstacle.DEVICE_MISSING, found, remedy)


def beside_snp(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    """New firmware refuses SEV-ES while SEV-SNP is on (CVE-2025-48514)."""
    if model is not SEV_ES or not facts.parameters.sev_snp.enabled:
        return None
    offered = facts.vm_types.offers(SEV_ES) if facts.vm_types else None
    kernel = facts.versions.kernel
    if offered is False:
        found = "SEV-SNP is on, and /dev/kvm offers no SEV-ES guest beside it"
        remedy = "use SEV-SNP, or load kvm_amd with sev_snp=0"
        return Hindrance(Obstacle.BESIDE_SNP, found, remedy)
    if offered and kernel is not None and kernel >= _KERNEL_THAT_ASKS:
        return None
    if facts.es_beside_snp or slot_counts.snp_alone(facts) is not None:
        return None  # Somebody who knows the firmware has asked for both.
    found = (
        "SEV-SNP is on, new firmware refuses SEV-ES beside it, and this kernel does "
        "not tell"
    )
    remedy = "where the firmware is known to take it, set [sev] num_sev_es_guests"
    return Hindrance(Obstacle.BESIDE_SNP, found, remedy)


def kvm(model: MemoryEncryptionModel, facts: HostFacts) -> Hindrance | None:
    if facts.vm_types is None or facts.vm_types.offers(model) is not False:
        return None
    found = "/dev/kvm offers no such guest though the kernel has it on"
    remedy = "see dmesg for why kvm_amd cannot use it"
    return Hindrance(Obstacle.KVM_SAYS_NO, found, remedy)
