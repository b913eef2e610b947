# SPDX-License-Identifier: Apache-2.0
"""Encrypted guests of which Nova does not know."""

from __future__ import annotations

import contextlib
import random

import libvirt

from devcloud.multinode.power import ComputeHost
from soak.cloud import SoakError
from soak.tables import SYMBOLS, Look, Stranger

_SECURITY = {"sev": ("sev", 0x33), "es": ("sev", 0x37), "snp": ("sev-snp", 0x30000)}
_XML = """
<domain type='kvm'>
  <name>stranger</name>
  <memory unit='MiB'>64</memory>
  <memoryBacking><locked/></memoryBacking>
  <os firmware='efi'>
    <type arch='x86_64' machine='q35'>hvm</type>
    <firmware><feature enabled='no' name='secure-boot'/></firmware>
    <loader stateless='{stateless}'/>
  </os>
  <features><acpi/></features>
  <launchSecurity type='{type}'><policy>{policy}</policy></launchSecurity>
</domain>
"""


def toggle(
    hosts: dict[str, ComputeHost],
    present: tuple[Stranger, ...],
    look: Look,
    chance: random.Random,
) -> tuple[Stranger, ...]:
    """One comes, or one goes; those that are there after it.

    It comes where Placement has a slot that is free: that one is there to be had.

    :raises SoakError: it is not.
    """
    places = [
        (host, kind)
        for host in sorted(hosts.keys() - {stranger.host for stranger in present})
        for kind in SYMBOLS
        if look.hosts[host].providers[kind].free > 0
    ]
    if present and (not places or chance.random() < 0.5):
        leaving = chance.choice(present)
        end(hosts[leaving.host], leaving)
        return tuple(stranger for stranger in present if stranger != leaving)
    if not places:
        return present
    host, kind = chance.choice(places)
    return (*present, Stranger(_start(hosts[host], kind), host, kind))


def _start(host: ComputeHost, kind: str) -> str:
    security, policy = _SECURITY[kind]
    xml = _XML.format(
        type=security, policy=hex(policy), stateless="yes" if kind == "snp" else "no"
    )
    with host.libvirt() as connection:
        try:
            domain = connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
        except libvirt.libvirtError as error:
            raise SoakError(
                f"Placement had a slot of {kind} free on {host.name}, and a stranger "
                f"could not start: {error}"
            ) from error
        uuid: str = domain.UUIDString()
        return uuid


def end(host: ComputeHost, stranger: Stranger) -> None:
    """Have it go."""
    # One that is gone already the checker has seen.
    with host.libvirt() as connection, contextlib.suppress(libvirt.libvirtError):
        connection.lookupByUUIDString(stranger.uuid).destroy()
