# SPDX-License-Identifier: Apache-2.0

"""What a domain says of its launch: the parts that its measurement depends on."""

from __future__ import annotations

import dataclasses

from lxml import etree

from sev_driver.domain.launch_security import policy_of
from sev_driver.domain.xml import parse_domain
from sev_driver.exceptions import DomainXMLError


@dataclasses.dataclass(frozen=True)
class LaunchedDomain:
    """The parts of a domain that the launch of a SEV-SNP guest depends on.

    ``firmware`` is None while libvirt has not selected one. ``cpu_mode`` and
    ``cpu_model`` are those of ``<cpu>``. ``kernel`` and ``initrd`` are paths, None if
    QEMU loads none. ``measures_kernel`` is true if the launch digest has the hashes of
    kernel, initrd and command line.
    """

    policy: int
    vcpus: int
    firmware: str | None = None
    cpu_mode: str | None = None
    cpu_model: str | None = None
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str = ""
    measures_kernel: bool = False

    @classmethod
    def parse(cls, xml: str | bytes) -> LaunchedDomain:
        """Parse the XML of a domain with SEV-SNP.

        :raises DomainXMLError: ``xml`` is not such a domain.
        """
        return cls.of(parse_domain(xml))

    @classmethod
    def of(cls, root: etree._Element) -> LaunchedDomain:
        """Do as :meth:`parse` does, for a domain that is already parsed."""
        launch = root.find("./launchSecurity[@type='sev-snp']")
        if launch is None:
            raise DomainXMLError("domain XML: no launchSecurity of type 'sev-snp'")
        try:
            policy = policy_of(launch)
        except ValueError as error:
            raise DomainXMLError(f"domain XML: {error}") from error
        cpu = root.find("./cpu")
        kernel = _text(root, "./os/kernel")
        return cls(
            policy,
            _vcpus(root),
            _text(root, "./os/loader"),
            None if cpu is None else cpu.get("mode"),
            _text(root, "./cpu/model"),
            kernel,
            _text(root, "./os/initrd"),
            # White space at its ends is part of it.
            root.findtext("./os/cmdline") or "",
            kernel is not None and launch.get("kernelHashes") == "yes",
        )


def _text(root: etree._Element, path: str) -> str | None:
    return (root.findtext(path) or "").strip() or None


def _vcpus(root: etree._Element) -> int:
    """Return the number of vCPUs that a guest starts with."""
    element = root.find("./vcpu")
    text = "" if element is None else element.get("current") or element.text or ""
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise DomainXMLError(f"domain XML: {text[:40]!r} is not a number of vCPUs")
    return int(text)
