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

"""What libvirt says of this host. The only libvirt importer."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Protocol

import libvirt

from sev_driver import answers, firmware_folders, kernel
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.exceptions import DetectionError
from sev_driver.facts import (
    HostFacts,
    KvmParameters,
    SevDevice,
    Version,
    Versions,
    version_of_number,
)


class Domain(Protocol):
    """What is used of libvirt's virDomain."""

    def XMLDesc(self, flags: int) -> str: ...


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

    def getLibVersion(self) -> int: ...

    def getVersion(self) -> int: ...


class WholeConnection(Connection, Protocol):
    """What the doctor uses of it besides."""

    def listAllDomains(self, flags: int) -> list[Domain]: ...

    def close(self) -> int: ...


def connect(uri: str) -> WholeConnection:
    """Return a connection of one's own.

    :param uri: as of ``virsh --connect``.
    :raises DetectionError: libvirt cannot be reached.
    """
    # Its errors are raised: it need not print them, too.
    libvirt.registerErrorHandler(lambda context, error: None, None)
    try:
        # A read-only one may not ask for domain capabilities (CVE-2019-10167).
        connection: WholeConnection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        # Else its words would stand in for those of an error still to come.
        libvirt.virResetLastError()
        raise DetectionError(str(error)) from error
    return connection


def running(connection: WholeConnection) -> list[Domain]:
    """Return the domains that run, whoever started them.

    :raises DetectionError: libvirt does not answer.
    """
    try:
        return connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    except libvirt.libvirtError as error:
        raise DetectionError(str(error)) from error


def read_domain_capabilities(
    connection: Connection, virt_type: str
) -> DomainCapabilities:
    """Ask libvirt what a q35 guest of this host can have, unless Nova just has.

    :raises DetectionError: libvirt does not answer, or not as documented.
    """
    kept = answers.of(connection)
    told = kept and kept.take_domain_capabilities(virt_type)
    return DomainCapabilities.parse(
        told or ask_domain_capabilities(connection, virt_type)
    )


def ask_domain_capabilities(connection: Connection, virt_type: str) -> str:
    """Return libvirt's own text of it.

    :raises DetectionError: libvirt does not answer.
    """
    try:
        return connection.getDomainCapabilities(None, "x86_64", "q35", virt_type, 0)
    except libvirt.libvirtError as error:
        raise DetectionError(str(error)) from error


def read_versions(connection: Connection) -> Versions:
    """Return the versions of libvirt, QEMU and the kernel, as far as each is told."""
    daemon = _version(connection, "getLibVersion")
    qemu = _version(connection, "getVersion")
    return Versions(daemon, qemu, kernel.read_kernel_version())


def _version(connection: Connection, name: str) -> Version | None:
    kept = answers.of(connection)
    number = None if kept is None else kept.number(name)
    with contextlib.suppress(libvirt.libvirtError):
        return version_of_number(
            getattr(connection, name)() if number is None else number
        )
    return None


@dataclasses.dataclass(frozen=True)
class _Glance:
    """What is looked at each time: cheap, and it changes when the rest does."""

    parameters: KvmParameters
    device: SevDevice
    descriptors: firmware_folders.Glance

    @classmethod
    def take(cls) -> _Glance:
        return cls(
            kernel.read_kvm_parameters(),
            kernel.read_sev_device(),
            firmware_folders.glance(),
        )


class Reader:
    """Reads the host anew only when what it read can have changed.

    :param virt_type: [libvirt] virt_type.
    :param arch: the processor's, such as ``x86_64``.
    :param vendor: the processor's, in libvirt's words.
    """

    def __init__(self, virt_type: str, arch: str, vendor: str = "") -> None:
        self._virt_type = virt_type
        self._arch = arch
        self._vendor = vendor
        self._connection: Connection | None = None
        self._glance: _Glance | None = None
        self._facts: HostFacts | None = None

    def read(self, connection: Connection) -> HostFacts:
        """Return all facts; what cannot be read is told in them, not raised.

        libvirt finds out its capabilities when it starts, and a restart breaks
        the connection: one connection, one look.
        """
        glance = _Glance.take()
        known = self._facts
        if (
            known is not None
            and known.domain_error is None
            and self._glance == glance
            and self._connection is connection
        ):
            return known
        self._connection, self._glance = connection, glance
        self._facts = self._read(connection, glance)
        return self._facts

    def _read(self, connection: Connection, glance: _Glance) -> HostFacts:
        facts = HostFacts(
            self._virt_type,
            self._arch,
            glance.parameters,
            vendor=self._vendor,
            device=glance.device,
        )
        if self._virt_type not in ("kvm", "qemu") or self._arch != "x86_64":
            return facts
        try:
            domain = read_domain_capabilities(connection, self._virt_type)
        except DetectionError as error:
            return dataclasses.replace(facts, domain_error=str(error))
        facts = dataclasses.replace(facts, domain=domain)
        parameters = glance.parameters
        later = parameters.sev_es.enabled or parameters.sev_snp.enabled
        if not (parameters.sev.enabled or later):
            return facts
        # The rest refines what is on: it is not asked where nothing is.
        facts = dataclasses.replace(
            facts,
            cpuid=kernel.read_cpuid(),
            misc_capacity=kernel.read_misc_capacity(),
            vm_types=kernel.read_vm_types(),
        )
        if not later:
            return facts
        return dataclasses.replace(
            facts,
            versions=read_versions(connection),
            firmware=firmware_folders.read(),
        )


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
