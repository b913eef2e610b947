# SPDX-License-Identifier: Apache-2.0

"""The errors of sev_driver, and the data that they carry.

compute/errors translates them to Nova's.

::

    SevDriverError
      ConfigurationError
      DetectionError            the host could not be read: never "unsupported"
        MalformedCapabilities
        MalformedCpuid
        MalformedFirmware
        MalformedMisc
      RequirementsNotMet        .violations, all of them
      DomainXMLError
      EncryptionLost            a domain that must be encrypted would not be
        PolicyTooWeak           its policy is weaker than that of nova.conf
      OperationNotSupported     .operation .model .reason
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

from sev_driver.model import AnyModel, MemoryEncryptionModel


class SevDriverError(Exception):
    """The base of every error that sev_driver raises."""


class ConfigurationError(SevDriverError):
    """The driver cannot run with this nova.conf or this version of Nova."""


class DetectionError(SevDriverError):
    """A fact of the host could not be read, so its value is unknown."""


class MalformedCapabilities(DetectionError):
    """libvirt's domain capabilities are not in the form that libvirt documents."""


class MalformedCpuid(DetectionError):
    """A record of CPUID does not hold the expected leaf."""


class MalformedFirmware(DetectionError):
    """A firmware descriptor is not in the form that QEMU documents."""


class MalformedMisc(DetectionError):
    """A file of the misc control group is not in the form that Linux documents."""


class Fault(enum.Enum):
    """Where a violation must be fixed; for HOST, another host may be suitable."""

    REQUEST = "request"
    HOST = "host"


class Requirement(enum.Enum):
    """What an encrypted guest needs; the values are labels in the manual."""

    AGREEMENT = "agreement"
    MACHINE_TYPE = "machine-type"
    FIRMWARE_TYPE = "firmware-type"
    FIRMWARE_STATELESS = "firmware-stateless"
    SECURE_BOOT = "secure-boot"
    NO_VIOMMU = "no-viommu"
    NO_HOST_DEVICE = "no-host-device"
    SHARED_MEMORY = "shared-memory"
    VHOST_IOMMU = "vhost-iommu"
    BOOT_BUS = "boot-bus"
    IMAGE_MODEL = "image-model"
    IMAGE_RECORD = "image-record"
    RESCUE_IMAGE = "rescue-image"
    SPELLING = "spelling"
    NO_IDE = "no-ide"
    NO_SHARE = "no-share"
    SLOT = "slot"
    SLOT_UNKNOWN = "slot-unknown"
    NEW_HOST = "new-host"
    NEW_HOST_SLOTS = "new-host-slots"
    SEV_DRIVER = "sev-driver"
    POOL = "pool"
    HOST = "host"
    OWNER_INPUT = "owner-input"
    NOT_SNP = "not-snp"
    ID_BLOCK = "id-block"
    ID_BLOCK_DIGEST = "id-block-digest"
    POLICY_ON_HOST = "policy-on-host"
    KERNEL_HASHES = "kernel-hashes"


@dataclasses.dataclass(frozen=True)
class Violation:
    """A requirement that is not met: the requester, what was found, the remedy.

    The texts are short, because Nova shows users 255 characters of a fault.
    """

    requirement: Requirement
    requester: str
    found: str
    remedy: str
    #: The model that was asked for.
    model: AnyModel

    @property
    def fault(self) -> Fault:
        # Another host may have a slot of the right model, or reach Placement.
        host = self.requirement in (
            Requirement.HOST,
            Requirement.POOL,
            Requirement.SLOT_UNKNOWN,
            Requirement.SEV_DRIVER,
            Requirement.POLICY_ON_HOST,
            Requirement.ID_BLOCK_DIGEST,
            Requirement.KERNEL_HASHES,
        )
        return Fault.HOST if host else Fault.REQUEST

    def __str__(self) -> str:
        # A user may have written the text: it can be an image property.
        found = printable(self.found, 300)
        return f"{printable(self.requester)}, but {found}: {self.remedy}."


class RequirementsNotMet(SevDriverError):
    """A guest asks for encryption that this host cannot give it."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__(" ".join(str(violation) for violation in violations))
        self.violations = tuple(violations)


class DomainXMLError(SevDriverError):
    """A domain's XML cannot be read, or lacks a required element."""


class EncryptionLost(SevDriverError):
    """A domain would run without the encryption that its guest asks for."""

    def __init__(
        self,
        domain: str,
        model: AnyModel,
        found: str,
        in_the_clear: bool = False,
    ) -> None:
        super().__init__(
            f"Guest {domain} asked for {model.title}, but its domain XML has {found}: "
            f"hard reboot the server to recreate its XML."
        )
        self.domain = domain
        self.model = model
        self.found = found
        #: True if the domain has no encryption, False for a wrong model or policy.
        self.in_the_clear = in_the_clear


class PolicyTooWeak(EncryptionLost):
    """A domain's policy is weaker than the one that was asked for.

    :param asked: that policy, and what has it, such as ``0x0033 of nova.conf``.
    :param weaknesses: the names of the policy bits that are weaker.
    """

    def __init__(
        self,
        domain: str,
        model: AnyModel,
        policy: str,
        asked: str,
        weaknesses: Sequence[str],
    ) -> None:
        bits = ", ".join(weaknesses[:3]) + (" and more" if len(weaknesses) > 3 else "")
        found = f"policy {policy}, weaker than {asked} by {bits}"
        super().__init__(domain, model, found)
        self.weaknesses = tuple(weaknesses)


class OperationNotSupported(SevDriverError):
    """An operation that is not possible for encrypted guests."""

    def __init__(
        self, operation: str, model: MemoryEncryptionModel, reason: str
    ) -> None:
        super().__init__(
            f"{operation} is not possible for a guest encrypted by {model.title}: "
            f"{reason}"
        )
        self.operation = operation
        self.model = model
        self.reason = reason


def printable(text: str, characters: int = 200) -> str:
    """Return ``text`` on one line, shortened to ``characters``.

    Unprintable characters become ``?``: in a log, a line feed would start a forged
    line; on a terminal, an escape sequence would move the cursor.
    """
    kept = text[:characters]
    cut = "…" if len(text) > characters else ""
    if kept.isprintable():
        return kept + cut  # almost always, and much faster
    return "".join(c if c.isprintable() else "?" for c in kept) + cut
