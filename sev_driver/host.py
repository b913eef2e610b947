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

"""Facts of this host: kernel parameters and libvirt. The only libvirt importer."""

import pathlib
from typing import Protocol

import libvirt

from sev_driver.capabilities import HostFacts, KvmParameter
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.exceptions import DetectionError

KVM_PARAMETERS = pathlib.Path("/sys/module/kvm_amd/parameters")

#: As long as no kernel parameter is; more of a file is never read.
_PARAMETER_BYTES = 4096


class Connection(Protocol):
    """What is used of libvirt's virConnect."""

    def getDomainCapabilities(
        self,
        emulatorbin: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        flags: int,
    ) -> str: ...


class Domain(Protocol):
    """What is used of libvirt's virDomain."""

    def XMLDesc(self, flags: int) -> str: ...


def read_kvm_parameter(name: str) -> KvmParameter:
    """Return a parameter of the module kvm_amd, such as ``sev``."""
    path = KVM_PARAMETERS / name
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return KvmParameter(str(path), text=file.read(_PARAMETER_BYTES))
    except FileNotFoundError:
        return KvmParameter(str(path))
    except OSError as error:
        return KvmParameter(str(path), error=error.strerror or str(error))


def read_domain_capabilities(
    connection: Connection, virt_type: str
) -> DomainCapabilities:
    """Ask libvirt what a q35 guest of this host can have.

    :raises DetectionError: libvirt does not answer, or not as documented.
    """
    try:
        xml = connection.getDomainCapabilities(None, "x86_64", "q35", virt_type, 0)
    except libvirt.libvirtError as error:
        raise DetectionError(str(error)) from error
    return DomainCapabilities.parse(xml)


class Reader:
    """Reads the host anew only when what it read can have changed.

    :param virt_type: [libvirt] virt_type.
    :param arch: the processor's, such as ``x86_64``.
    """

    def __init__(self, virt_type: str, arch: str) -> None:
        self._virt_type = virt_type
        self._arch = arch
        self._connection: Connection | None = None
        self._facts: HostFacts | None = None

    def read(self, connection: Connection) -> HostFacts:
        """Return all facts; what cannot be read is told in them, not raised.

        libvirt finds out its capabilities when it starts, and a restart breaks
        the connection: one connection, one look.
        """
        parameter = read_kvm_parameter("sev")
        known = self._facts
        if (
            known is not None
            and known.domain_error is None
            and known.sev_parameter == parameter
            and self._connection is connection
        ):
            return known
        domain, domain_error = None, None
        if self._virt_type in ("kvm", "qemu") and self._arch == "x86_64":
            try:
                domain = read_domain_capabilities(connection, self._virt_type)
            except DetectionError as error:
                domain_error = str(error)
        self._connection = connection
        self._facts = HostFacts(
            self._virt_type, self._arch, parameter, domain, domain_error
        )
        return self._facts


def read_xml(domain: Domain) -> str | None:
    """Return a domain's XML, None if it has just ended.

    :raises DetectionError: libvirt does not give it.
    """
    try:
        return domain.XMLDesc(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise DetectionError(str(error)) from error
