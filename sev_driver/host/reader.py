# SPDX-License-Identifier: Apache-2.0

"""Read the facts of this host, or of a host in an archive.

The driver and sev-doctor use the same function, so that they cannot disagree.
sev-capabilities gets the facts as arguments.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

from sev_driver.exceptions import DetectionError
from sev_driver.host import firmware_dirs, kernel
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import (
    VIRT_TYPES,
    HostFacts,
    KvmParameters,
    SevDevice,
    Version,
    Versions,
)
from sev_driver.host.files import LOCAL, Source
from sev_driver.host.psp_watch import PspWatch


class Libvirt(Protocol):
    """The queries that the reader sends to libvirt."""

    def domain_capabilities(self, virt_type: str) -> DomainCapabilities:
        """Return the capabilities of q35 guests on x86-64.

        :raises DetectionError: libvirt does not answer, or not as documented.
        :raises OSError: the archive does not hold its answer.
        """

    def versions(self) -> tuple[Version | None, Version | None]:
        """Return the versions of libvirt and QEMU, each None if unknown."""


def read_facts(
    source: Source,
    libvirt: Libvirt,
    virt_type: str,
    arch: str,
    vendor: str = "",
    *,
    needed_only: bool = False,
) -> HostFacts:
    """Read the facts of a host. A fact that cannot be read is unknown, not an error.

    :param source: the machine or archive to read from.
    :param virt_type: the value of [libvirt] virt_type.
    :param arch: the processor's architecture, such as ``x86_64``.
    :param vendor: the processor's vendor, as libvirt names it.
    :param needed_only: skip facts that cannot change the result, such as libvirt's
        reply about models that the kernel has disabled.
    """
    facts = HostFacts(
        virt_type,
        arch,
        kernel.read_kvm_parameters(source),
        vendor=vendor,
        device=kernel.read_sev_device(source),
    )
    return _complete(facts, source, libvirt, needed_only=needed_only)


def _complete(
    facts: HostFacts, source: Source, libvirt: Libvirt, *, needed_only: bool
) -> HostFacts:
    """Add the facts to read after the kernel's parameters."""
    is_x86_kvm = facts.virt_type in VIRT_TYPES and facts.arch == "x86_64"
    if needed_only and not is_x86_kvm:
        return facts
    snp = facts.parameters.sev_snp
    facts = dataclasses.replace(
        facts,
        system=kernel.read_system(
            source, with_iommu=not (needed_only and (snp.enabled or snp.text is None))
        ),
        versions=Versions(kernel=kernel.read_kernel_version(source)),
    )
    facts = _with_domain_capabilities(facts, libvirt)
    later = _needs_firmware(facts.parameters)
    is_on = facts.domain is not None and (facts.parameters.sev.enabled or later)
    if needed_only and not is_on:
        return facts
    facts = dataclasses.replace(
        facts,
        cpuid=kernel.read_cpuid(source),
        misc_capacity=kernel.read_misc_capacity(source),
        vm_types=kernel.read_vm_types(source),
    )
    if needed_only and not later:
        return facts
    return dataclasses.replace(
        facts,
        versions=Versions(*libvirt.versions(), facts.versions.kernel),
        firmware=firmware_dirs.read(of=source),
    )


def _needs_firmware(parameters: KvmParameters) -> bool:
    """Return whether a model is enabled that needs a special guest firmware."""
    return parameters.sev_es.enabled or parameters.sev_snp.enabled


def _with_domain_capabilities(facts: HostFacts, libvirt: Libvirt) -> HostFacts:
    # For other types of guest libvirt's reply says nothing about SEV.
    virt_type = facts.virt_type if facts.virt_type in VIRT_TYPES else "kvm"
    try:
        domain = libvirt.domain_capabilities(virt_type)
    except (OSError, DetectionError) as error:
        return dataclasses.replace(facts, domain_error=str(error))
    return dataclasses.replace(facts, domain=domain)


@dataclasses.dataclass(frozen=True)
class _Fingerprint:
    """Facts that are cheap to read, and that change when others can have changed."""

    parameters: KvmParameters
    device: SevDevice
    descriptors: firmware_dirs.Fingerprint
    psp_failure: str | None

    @classmethod
    def read(cls, watch: PspWatch) -> _Fingerprint:
        parameters = kernel.read_kvm_parameters()
        # What is off anyway need not be looked for each time.
        return cls(
            parameters,
            kernel.read_sev_device(),
            firmware_dirs.fingerprint() if _needs_firmware(parameters) else (),
            watch.failure() if parameters.sev.enabled else None,
        )


class HostReader:
    """Reader of this host, which caches the facts until they can have changed.

    The parameters are those of :func:`read_facts`.
    """

    def __init__(self, virt_type: str, arch: str, vendor: str = "") -> None:
        self._virt_type = virt_type
        self._arch = arch
        self._vendor = vendor
        self._watch = PspWatch()
        #: One tuple, so that concurrent threads see all of it or nothing.
        self._last: tuple[Libvirt, _Fingerprint, HostFacts] | None = None

    def read(self, libvirt: Libvirt) -> HostFacts:
        """Return the facts needed for detection; the same object if nothing changed.

        :param libvirt: a client. libvirt's capabilities change only when it restarts,
            which ends the connection: a client that equals the last one is not queried.
        """
        now = _Fingerprint.read(self._watch)
        if self._last is not None:
            last_libvirt, fingerprint, known = self._last
            unchanged = fingerprint == now and last_libvirt == libvirt
            if unchanged and known.domain_error is None:
                return known
        facts = HostFacts(
            self._virt_type,
            self._arch,
            now.parameters,
            vendor=self._vendor,
            device=now.device,
        )
        facts = _complete(facts, LOCAL, libvirt, needed_only=True)
        self._last = libvirt, now, facts
        return facts
