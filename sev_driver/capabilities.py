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

"""From what libvirt and the kernel say to what this host can encrypt."""

import dataclasses
import enum
from collections.abc import Mapping

from sev_driver import safe_xml
from sev_driver.exceptions import MalformedCapabilities
from sev_driver.model import MemoryEncryptionModel

#: What oslo.utils takes for true, and so stock Nova in a kernel parameter.
_TRUE = frozenset({"y", "yes", "1", "true", "on", "t"})

_VIRT_TYPES = ("kvm", "qemu")


class Support(enum.Enum):
    """UNKNOWN is a fact that could not be read; it is not the same as NO."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class DomainCapabilities:
    """The part of libvirt's domain capabilities that concerns SEV.

    ``max_guests`` and ``max_es_guests`` are counts of ASIDs; None where libvirt
    is older than 8.0 and says nothing.
    """

    sev: bool
    max_guests: int | None = None
    max_es_guests: int | None = None

    @classmethod
    def parse(cls, xml: str | bytes) -> "DomainCapabilities":
        """Read a ``<domainCapabilities>`` document.

        :raises MalformedCapabilities: not such a document.
        """
        try:
            root = safe_xml.parse(xml)
        except safe_xml.UnsafeXML as error:
            raise MalformedCapabilities(f"domain capabilities: {error}") from error
        if root.tag != "domainCapabilities":
            raise MalformedCapabilities(
                f"domain capabilities: the document is <{root.tag}>"
            )
        sev = root.find("./features/sev")
        if sev is None or sev.get("supported") != "yes":
            return cls(sev=False)
        return cls(
            sev=True,
            max_guests=_integer(sev.findtext("maxGuests"), "maxGuests"),
            max_es_guests=_integer(sev.findtext("maxESGuests"), "maxESGuests"),
        )


def _integer(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise MalformedCapabilities(
            f"domain capabilities: <{name}> is {text[:40]!r}, not a number"
        ) from error


@dataclasses.dataclass(frozen=True)
class KvmParameter:
    """One file below /sys/module/kvm_amd/parameters.

    ``text`` is its content, None where the file does not exist; ``error`` says
    why an existing file could not be read.
    """

    path: str
    text: str | None = None
    error: str | None = None

    @property
    def enabled(self) -> bool:
        return self.text is not None and self.text.strip().lower() in _TRUE


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """All that was read of a host; ``domain_error`` stands in for ``domain``."""

    virt_type: str
    arch: str
    sev_parameter: KvmParameter
    domain: DomainCapabilities | None = None
    domain_error: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelCapability:
    """What is concluded for one model, and from what.

    ``reason`` tells why support is not YES and ``remedy`` what to do about it;
    ``slots`` is the number of guests that can run at once, None where nothing
    tells; ``slots_source`` names it.
    """

    model: MemoryEncryptionModel
    support: Support
    reason: str = ""
    remedy: str = ""
    slots: int | None = None
    slots_source: str = ""

    @property
    def supported(self) -> bool:
        return self.support is Support.YES

    def __str__(self) -> str:
        if not self.supported:
            verdict = "is off" if self.support is Support.NO else "cannot be determined"
            return f"{self.model.title} {verdict} on this host: {self.reason}"
        count = "an unknown number of" if self.slots is None else self.slots
        return f"{self.model.title} is supported: {count} slots ({self.slots_source})"


HostCapabilities = Mapping[MemoryEncryptionModel, ModelCapability]


def conclude(facts: HostFacts) -> HostCapabilities:
    """Return what the host offers, for each model that is judged here."""
    return {MemoryEncryptionModel.AMD_SEV: _conclude_sev(facts)}


def _conclude_sev(facts: HostFacts) -> ModelCapability:
    def verdict(support: Support, reason: str, remedy: str) -> ModelCapability:
        return ModelCapability(MemoryEncryptionModel.AMD_SEV, support, reason, remedy)

    if facts.virt_type not in _VIRT_TYPES:
        reason = f"[libvirt] virt_type is {facts.virt_type}"
        return verdict(Support.NO, reason, "set it to kvm or qemu")
    if facts.arch != "x86_64":
        reason = f"the processor is {facts.arch}"
        return verdict(Support.NO, reason, "SEV needs an AMD EPYC")
    parameter = facts.sev_parameter
    if parameter.error is not None:
        reason = f"{parameter.path} cannot be read ({parameter.error})"
        return verdict(Support.UNKNOWN, reason, "let nova-compute read it")
    if parameter.text is None:
        reason = f"{parameter.path} does not exist"
        return verdict(Support.NO, reason, "load kvm_amd, of a kernel of 4.16 or later")
    if not parameter.enabled:
        reason = f"{parameter.path} is {parameter.text.strip()[:40] or 'empty'}"
        remedy = "enable SEV in the firmware set-up and load kvm_amd with sev=1"
        return verdict(Support.NO, reason, remedy)
    if facts.domain is None:
        reason = f"libvirt's domain capabilities cannot be read: {facts.domain_error}"
        return verdict(Support.UNKNOWN, reason, "see libvirtd's log")
    if not facts.domain.sev:
        reason = "libvirt reports sev supported='no' though the kernel has it on"
        remedy = "see that QEMU can open /dev/sev, then restart libvirtd"
        return verdict(Support.NO, reason, remedy)
    return _count_sev(facts.domain.max_guests)


def _count_sev(max_guests: int | None) -> ModelCapability:
    model = MemoryEncryptionModel.AMD_SEV
    if max_guests is None:
        return ModelCapability(
            model, Support.YES, slots_source="libvirt older than 8.0 gives no number"
        )
    if max_guests <= 0:
        # libvirt subtracts the bounds of CPUID 0x8000001F; a firmware set-up
        # that gives every ASID to SEV-ES leaves none, or wraps below zero.
        reason = f"libvirt counts no slot for it (maxGuests={max_guests})"
        remedy = "lower the number of SEV-ES ASIDs in the firmware set-up"
        return ModelCapability(model, Support.NO, reason, remedy)
    return ModelCapability(
        model,
        Support.YES,
        slots=max_guests,
        slots_source="maxGuests in libvirt's domain capabilities",
    )
