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

"""What can go wrong, as data; only ``translate`` turns it into Nova's errors.

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
      OperationNotSupported     .operation .model .reason
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sev_driver.model import MemoryEncryptionModel
    from sev_driver.requirements import Violation


class SevDriverError(Exception):
    """The root of every error that sev_driver raises by itself."""


class ConfigurationError(SevDriverError):
    """nova.conf, or what is installed, asks for what cannot be."""


class DetectionError(SevDriverError):
    """A fact of the host could not be read; nothing is concluded from it."""


class MalformedCapabilities(DetectionError):
    """libvirt's domain capabilities are not what libvirt documents."""


class MalformedCpuid(DetectionError):
    """What should be a leaf of CPUID is none."""


class MalformedFirmware(DetectionError):
    """A firmware descriptor is not what QEMU documents."""


class MalformedMisc(DetectionError):
    """A file of the misc control group is not what the kernel documents."""


class RequirementsNotMet(SevDriverError):
    """A guest asks for encryption that it cannot have on this host."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__(" ".join(str(violation) for violation in violations))
        self.violations = tuple(violations)


class DomainXMLError(SevDriverError):
    """A domain's XML cannot be read, or lacks what every domain has."""


class EncryptionLost(SevDriverError):
    """A domain would run without the encryption that was asked for."""

    def __init__(
        self,
        domain: str,
        model: MemoryEncryptionModel,
        found: str,
        in_the_clear: bool = False,
    ) -> None:
        super().__init__(
            f"Guest {domain} asked for {model.title}, but its domain XML has {found}: "
            f"hard reboot the server to have the XML made anew."
        )
        self.domain = domain
        self.model = model
        self.found = found
        #: Not encrypted at all, other than by the wrong generation or policy.
        self.in_the_clear = in_the_clear


class OperationNotSupported(SevDriverError):
    """An operation that the encryption rules out."""

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
