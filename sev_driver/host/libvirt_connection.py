# SPDX-License-Identifier: Apache-2.0

"""Connections to libvirt, and a cache of its replies. The only importer of libvirt."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any, Protocol

import libvirt

from sev_driver.exceptions import DetectionError
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import Version, version_of_number

#: The attribute of a connection that holds its cache.
_CACHE = "_sev_driver_replies"


class Domain(Protocol):
    """The methods of libvirt's virDomain that are used."""

    def XMLDesc(self, flags: int) -> str: ...


class Connection(Protocol):
    """The methods of libvirt's virConnect that the driver uses."""

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

    def listDomainsID(self) -> list[int]: ...


class WholeConnection(Connection, Protocol):
    """The methods of libvirt's virConnect that the doctor uses."""

    def listAllDomains(self, flags: int) -> list[Domain]: ...

    def close(self) -> int: ...


class LibvirtReplyCache:
    """Cache of libvirt's replies on one of Nova's connections.

    At startup Nova queries the domain capabilities, which takes libvirt 0.1 s or more.
    With the cache, the driver need not repeat the query.
    """

    def __init__(self, connection: Any) -> None:
        self._domain_capabilities: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        query = connection.getDomainCapabilities

        def get_domain_capabilities(
            emulator: str | None = None,
            arch: str | None = None,
            machine: str | None = None,
            virt_type: str | None = None,
            flags: int = 0,
        ) -> str:
            text: str = query(emulator, arch, machine, virt_type, flags)
            if virt_type and arch == "x86_64" and "q35" in (machine or ""):
                self._domain_capabilities[virt_type] = text
            return text

        connection.getDomainCapabilities = get_domain_capabilities
        for name in ("getLibVersion", "getVersion"):
            setattr(connection, name, self._caching(name, getattr(connection, name)))

    @classmethod
    def install(cls, nova_host: Any) -> None:
        """Add a cache to every connection that Nova opens.

        :param nova_host: Nova's libvirt Host, before it has opened a connection.
        """
        connect = nova_host.get_connection

        def get_connection() -> Any:
            connection = connect()
            if getattr(connection, _CACHE, None) is None:
                setattr(connection, _CACHE, cls(connection))
            return connection

        nova_host.get_connection = get_connection

    @classmethod
    def on(cls, connection: Any) -> LibvirtReplyCache | None:
        """Return the cache of a connection, None if it has no cache."""
        found = getattr(connection, _CACHE, None)
        return found if isinstance(found, cls) else None

    def _caching(self, name: str, query: Any) -> Any:
        def get_number() -> int:
            number: int = query()
            self._numbers[name] = number
            return number

        return get_number

    def pop_domain_capabilities(self, virt_type: str) -> str | None:
        """Return and remove the cached reply for q35 guests, None if not cached."""
        return self._domain_capabilities.pop(virt_type, None)

    def number(self, name: str) -> int | None:
        """Return the cached reply of the method ``name``, a version as a number."""
        return self._numbers.get(name)


@dataclasses.dataclass(frozen=True)
class LibvirtClient:
    """The queries of the host reader; equal to a client of the same connection."""

    connection: Connection

    def domain_capabilities(self, virt_type: str) -> DomainCapabilities:
        """Return the capabilities of q35 guests, from the cache if it has them.

        :raises DetectionError: libvirt does not answer, or not as documented.
        """
        cache = LibvirtReplyCache.on(self.connection)
        text = cache and cache.pop_domain_capabilities(virt_type)
        return DomainCapabilities.parse(text or self.domain_capabilities_xml(virt_type))

    def domain_capabilities_xml(self, virt_type: str) -> str:
        """Query the domain capabilities of q35 guests; return the document.

        :raises DetectionError: libvirt does not answer.
        """
        try:
            return self.connection.getDomainCapabilities(
                None, "x86_64", "q35", virt_type, 0
            )
        except libvirt.libvirtError as error:
            raise DetectionError(str(error)) from error

    def versions(self) -> tuple[Version | None, Version | None]:
        """Return the versions of libvirt and QEMU, each None if unknown."""
        return self._version("getLibVersion"), self._version("getVersion")

    def _version(self, name: str) -> Version | None:
        cache = LibvirtReplyCache.on(self.connection)
        number = None if cache is None else cache.number(name)
        with contextlib.suppress(libvirt.libvirtError):
            return version_of_number(
                getattr(self.connection, name)() if number is None else number
            )
        return None


def connect(uri: str) -> WholeConnection:
    """Open a connection to libvirt, apart from Nova's.

    :param uri: the URI, as for ``virsh --connect``.
    :raises DetectionError: libvirt cannot be reached.
    """
    # libvirt raises its errors; without a handler it prints them as well.
    libvirt.registerErrorHandler(lambda context, error: None, None)
    try:
        # Read-only connections cannot query domain capabilities (CVE-2019-10167).
        connection: WholeConnection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        # Otherwise a later error could show the text of this one.
        libvirt.virResetLastError()
        raise DetectionError(str(error)) from error
    return connection


def running_domains(connection: WholeConnection) -> list[Domain]:
    """Return all running domains, including those not managed by Nova.

    :raises DetectionError: libvirt does not answer.
    """
    try:
        return connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    except libvirt.libvirtError as error:
        raise DetectionError(str(error)) from error


def running_ids(connection: Connection) -> frozenset[int]:
    """Return the ids of the domains that run, without a list of the domains.

    libvirt gives an id to one start of a domain only, and keeps it when the daemon
    restarts. A connection does not outlive its daemon: on one, an id stands for the
    same run of the same domain.

    :raises DetectionError: libvirt does not answer.
    """
    try:
        return frozenset(connection.listDomainsID())
    except libvirt.libvirtError as error:
        raise DetectionError(str(error)) from error


def read_xml(domain: Domain) -> str | None:
    """Return a domain's XML, None if the domain has just ended.

    :raises DetectionError: libvirt cannot return it.
    """
    try:
        return domain.XMLDesc(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise DetectionError(str(error)) from error
