# SPDX-License-Identifier: Apache-2.0

"""Find devices that an encrypted guest cannot have, in its domain XML."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

from lxml import etree

from sev_driver.domain.xml import child, parse, xpath
from sev_driver.exceptions import DomainXMLError, Requirement, Violation
from sev_driver.guest.requirements import (
    BOOT_BUSES,
    BOOT_REMEDY,
    VIRTIO_SCSI,
    GuestRequest,
    UnmetRequirement,
)


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of a domain: its name, such as vda, and its bus.

    ``is_boot`` is true for the boot disk, ``has_virtio_scsi`` if the domain's SCSI
    controller is virtio-scsi.
    """

    name: str | None
    bus: str | None
    is_boot: bool = False
    has_virtio_scsi: bool = False


def check_disks(request: GuestRequest, disks: Sequence[Disk]) -> tuple[Violation, ...]:
    """Return a violation for each disk that an encrypted guest cannot have."""
    return _violations(
        request, itertools.chain.from_iterable(map(_disk_findings, disks))
    )


#: vhost-user-fs has no iommu_platform, which QEMU sets on each virtio device of an
#: encrypted guest.
_NO_SHARE = UnmetRequirement(
    Requirement.NO_SHARE,
    "a share (virtiofs) is attached to the server",
    "detach the share",
)


def check_shares(request: GuestRequest, *, has_share: bool) -> tuple[Violation, ...]:
    """Return a violation if a share is attached to the server.

    :param has_share: true if one is.
    """
    return _violations(request, [_NO_SHARE] if has_share else [])


def check_domain(request: GuestRequest, root: etree._Element) -> tuple[Violation, ...]:
    """Return a violation for each device that an encrypted guest cannot have.

    :param root: a whole ``<domain>``.
    """
    devices = _DOUBTFUL_DEVICES(root)
    findings = itertools.chain(
        itertools.chain.from_iterable(
            _findings(device, request.allows_pci_devices) for device in devices
        ),
        _boot_findings(root),
    )
    return _violations(request, findings)


#: All devices that can be forbidden, and few others: nearly all guests have none.
_DOUBTFUL_DEVICES = xpath(
    "devices/hostdev | devices/filesystem | devices/interface[@type='hostdev']"
    " | devices/disk[target/@bus='ide']"
)


def check_device(request: GuestRequest, xml: str) -> tuple[Violation, ...]:
    """Return the violations if a device cannot be attached to an encrypted guest.

    :param xml: the device.
    :raises DomainXMLError: ``xml`` is not XML.
    """
    return _violations(request, _findings(parse(xml), request.allows_pci_devices))


#: QEMU of a device with ``iommu='on'`` whose vhost back end does not offer the IOMMU
#: (hw/virtio/virtio-bus.c).
_NO_IOMMU = "iommu_platform=true is not supported by the device"


def explain_error(
    request: GuestRequest, xml: str | bytes, error: str
) -> tuple[Violation, ...]:
    """Return the violation that explains an error of libvirt about a vhost-user port.

    :param xml: the domain that did not start, or the device that was not attached.
    :param error: the text of libvirt's error.
    """
    if _NO_IOMMU not in error:
        return ()
    try:
        root = parse(xml)
    except DomainXMLError:
        return ()
    ports = (each for each in root.iter("interface") if each.get("type") == "vhostuser")
    port = next(ports, None)
    if port is None:
        return ()
    finding = UnmetRequirement(
        Requirement.VHOST_IOMMU,
        f"the switch of vhost-user port{_mac(port)} offers no IOMMU",
        "set other_config:vhost-iommu-support=true in its Open vSwitch, and restart it",
    )
    return (finding.attributed_to(request),)


def _violations(
    request: GuestRequest, findings: Iterable[UnmetRequirement]
) -> tuple[Violation, ...]:
    return tuple(finding.attributed_to(request) for finding in findings)


def _findings(
    device: etree._Element, allows_pci_devices: bool
) -> Iterator[UnmetRequirement]:
    """Yield the requirements that a device does not meet."""
    if allows_pci_devices and is_pci_device(device):
        return
    kind = device.get("type")
    if device.tag == "hostdev" and kind == "mdev":
        remedy = "use a flavor without one"
        yield _host_device("the guest has a mediated device (vGPU)", remedy)
    elif device.tag == "hostdev" and kind == "pci":
        remedy = "use a flavor without one"
        yield _host_device("the guest has a PCI device of the host", remedy)
    elif device.tag == "interface" and kind == "hostdev":
        yield _host_device(
            f"network port{_mac(device)} is a PCI device of the host (SR-IOV)",
            "use a port of vnic type normal",
        )
    elif device.tag == "filesystem":
        yield _NO_SHARE
    elif device.tag == "disk":
        yield from _disk_findings(Disk(_device_name(device), _bus(device)))


def _mac(interface: etree._Element) -> str:
    """Return the MAC address after a blank; empty if it is not set."""
    mac = interface.find("mac")
    return "" if mac is None else f" {mac.get('address')}"


def is_pci_device(device: etree._Element) -> bool:
    """Return whether a device of a domain is a PCI device of the host."""
    kind = device.get("type")
    return (device.tag, kind) in (("hostdev", "pci"), ("interface", "hostdev"))


def _host_device(found: str, remedy: str) -> UnmetRequirement:
    return UnmetRequirement(Requirement.NO_HOST_DEVICE, found, remedy)


def _boot_findings(root: etree._Element) -> Iterator[UnmetRequirement]:
    """Yield the requirements that the boot disk, Nova's first disk, does not meet."""
    boot = _boot_disk(root)
    if boot is not None and _bus(boot) != "ide":
        has_virtio_scsi = _has_virtio_scsi(root)
        yield from _disk_findings(
            Disk(_device_name(boot), _bus(boot), True, has_virtio_scsi)
        )


def _boot_disk(root: etree._Element) -> etree._Element | None:
    for devices in root.iterchildren("devices"):
        for disk in devices.iterchildren("disk"):
            if disk.get("device", "disk") == "disk":
                return disk
    return None


def _disk_findings(disk: Disk) -> Iterator[UnmetRequirement]:
    if disk.bus == "ide":
        yield UnmetRequirement(
            Requirement.NO_IDE,
            f"disk {disk.name} is on an IDE bus",
            "use virtio, scsi or sata",
        )
    elif disk.is_boot and not _can_boot(disk):
        yield UnmetRequirement(
            Requirement.BOOT_BUS,
            f"boot disk {disk.name} is on bus {disk.bus}",
            BOOT_REMEDY,
        )


def _can_boot(disk: Disk) -> bool:
    return disk.bus in BOOT_BUSES or (disk.bus == "scsi" and disk.has_virtio_scsi)


def _bus(disk: etree._Element) -> str | None:
    target = child(disk, "target")
    return None if target is None else target.get("bus")


def _device_name(disk: etree._Element) -> str | None:
    target = child(disk, "target")
    return None if target is None else target.get("dev")


def _has_virtio_scsi(root: etree._Element) -> bool:
    return bool(_VIRTIO_SCSI_CONTROLLERS(root))


_VIRTIO_SCSI_CONTROLLERS = xpath(
    f"devices/controller[@type='scsi'][@model='{VIRTIO_SCSI}']"
)
