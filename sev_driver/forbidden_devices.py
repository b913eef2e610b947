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

"""Devices that an encrypted guest cannot have, found in its domain XML."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from lxml import etree

from sev_driver.domain_xml import parse
from sev_driver.requirements import (
    BOOT_BUSES,
    BOOT_REMEDY,
    VIRTIO_SCSI,
    Finding,
    GuestRequest,
    Requirement,
    Violation,
)


def check(request: GuestRequest, root: etree._Element) -> tuple[Violation, ...]:
    """Return a violation for each device of a domain that rules out encryption.

    :param root: a whole ``<domain>``.
    """
    devices = root.iterfind("devices/*")
    findings = itertools.chain(
        itertools.chain.from_iterable(map(_findings, devices)), _boot_findings(root)
    )
    return _violations(request, findings)


def check_device(request: GuestRequest, xml: str) -> tuple[Violation, ...]:
    """Return why the device of ``xml`` cannot be attached; empty if it can.

    :raises DomainXMLError: ``xml`` is not XML.
    """
    return _violations(request, _findings(parse(xml)))


def _violations(
    request: GuestRequest, findings: Iterable[Finding]
) -> tuple[Violation, ...]:
    return tuple(finding.by(request) for finding in findings)


def _findings(device: etree._Element) -> Iterator[Finding]:
    """Yield what is wrong with one device, and its remedy."""
    kind = device.get("type")
    if device.tag == "hostdev" and kind == "mdev":
        yield _host_device("the guest has a mediated device (vGPU)", "ask for none")
    elif device.tag == "hostdev" and kind == "pci":
        yield _host_device("the guest has a PCI device of the host", "ask for none")
    elif device.tag == "interface" and kind == "hostdev":
        mac = device.find("mac")
        name = "" if mac is None else f" {mac.get('address')}"
        yield _host_device(
            f"network port{name} is a PCI device of the host (SR-IOV)",
            "use a port of vnic type normal",
        )
    elif device.tag == "disk" and _bus(device) == "ide":
        yield Finding(
            Requirement.NO_IDE,
            f"disk {_device_name(device)} is on an IDE bus",
            "use virtio, scsi or sata",
        )


def _host_device(found: str, remedy: str) -> Finding:
    return Finding(Requirement.NO_HOST_DEVICE, found, remedy)


def _boot_findings(root: etree._Element) -> Iterator[Finding]:
    """Yield what is wrong with the boot disk, the first that Nova lists."""
    disks = root.iterfind("devices/disk")
    boot = next((d for d in disks if d.get("device", "disk") == "disk"), None)
    if boot is None or _bus(boot) in BOOT_BUSES | {"ide"}:
        return
    if _bus(boot) == "scsi" and _has_virtio_scsi(root):
        return
    yield Finding(
        Requirement.BOOT_BUS,
        f"boot disk {_device_name(boot)} is on bus {_bus(boot)}",
        BOOT_REMEDY,
    )


def _bus(disk: etree._Element) -> str | None:
    target = disk.find("target")
    return None if target is None else target.get("bus")


def _device_name(disk: etree._Element) -> str | None:
    target = disk.find("target")
    return None if target is None else target.get("dev")


def _has_virtio_scsi(root: etree._Element) -> bool:
    path = f"devices/controller[@type='scsi'][@model='{VIRTIO_SCSI}']"
    return root.find(path) is not None
