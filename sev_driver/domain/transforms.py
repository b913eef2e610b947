# SPDX-License-Identifier: Apache-2.0

"""The changes to the domain of an encrypted guest, one transform for each concern.

Each transform changes the ``<domain>`` element in place. A transform can be applied
twice without effect, and their order does not matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from lxml import etree

from sev_driver import safe_xml
from sev_driver.domain.launch_security import LaunchSecurity
from sev_driver.domain.xml import child, ensure, parse, required
from sev_driver.exceptions import DomainXMLError
from sev_driver.model import MemoryEncryptionModel


@dataclasses.dataclass(frozen=True)
class EncryptionPlan:
    """How to encrypt a domain.

    ``reselect_firmware`` is true to remove the guest firmware that Nova 32 and older
    selected without regard to the model. ``keeps_locked_memory`` is true to leave a
    SEV-SNP guest's memory locked if Nova locked it.
    """

    launch_security: LaunchSecurity
    reselect_firmware: bool = False
    keeps_locked_memory: bool = False

    @property
    def model(self) -> MemoryEncryptionModel:
        return self.launch_security.model


Transform = Callable[[etree._Element, EncryptionPlan], None]


def set_launch_security(domain: etree._Element, plan: EncryptionPlan) -> None:
    """Set the one ``<launchSecurity>``."""
    kernel = domain.find("os/kernel") is not None
    wanted = plan.launch_security.to_element(kernel)
    existing = domain.findall("launchSecurity")
    for surplus in existing[1:]:
        domain.remove(surplus)
    if existing:
        domain.replace(existing[0], wanted)
    else:
        domain.append(wanted)


def lock_memory(domain: etree._Element, plan: EncryptionPlan) -> None:
    """Set ``<memoryBacking><locked/>``, because KVM pins the guest's pages.

    The memory of SEV-SNP guests is not pinned but in guest_memfd. Nova 31 and older
    locks it nevertheless: the element is removed, unless flavor or image asks for it.
    """
    if plan.model is not MemoryEncryptionModel.AMD_SEV_SNP:
        ensure(ensure(domain, "memoryBacking"), "locked")
        return
    backing = domain.find("memoryBacking")
    if backing is None or plan.keeps_locked_memory:
        return
    for locked in backing.findall("locked"):
        backing.remove(locked)
    if len(backing) == 0:
        domain.remove(backing)


def select_firmware(domain: etree._Element, plan: EncryptionPlan) -> None:
    """Let libvirt select a guest firmware, with Secure Boot only if requested.

    By default libvirt selects the first descriptor with ``amd-sev``, which on Debian
    has enrolled keys and SMM. ``loader/@secure`` is removed, because libvirt 9.0
    rejects it beside ``os/@firmware``; the features replace it.
    """
    os = required(domain, "os")
    secure = _secure_boot(os, plan.model)
    if plan.reselect_firmware:
        _forget_firmware(os)
    if os.get("firmware") != "efi":
        return
    loader = os.find("loader")
    if loader is not None:
        loader.attrib.pop("secure", "")
        if not loader.attrib and not (loader.text or "").strip():
            os.remove(loader)
    firmware = ensure(os, "firmware")
    _set_feature(firmware, "secure-boot", secure)
    if secure == "no":
        _set_feature(firmware, "enrolled-keys", "no")
    if plan.model is MemoryEncryptionModel.AMD_SEV_SNP:
        # Makes libvirt select a firmware that is loaded as a ROM, not as flash.
        ensure(os, "loader").set("stateless", "yes")


def _forget_firmware(os: etree._Element) -> None:
    for tag in ("loader", "nvram"):
        for element in os.findall(tag):
            os.remove(element)
    os.set("firmware", "efi")


def _secure_boot(os: etree._Element, model: MemoryEncryptionModel) -> str:
    """Return "yes" if Nova enabled Secure Boot and ``model`` supports it, else "no".

    A guest that requires Secure Boot with a model that does not support it is refused
    earlier: here Secure Boot is optional.
    """
    on = (
        os.find("firmware/feature[@name='secure-boot'][@enabled='yes']") is not None
        or os.find("loader[@secure='yes']") is not None
    )
    return "yes" if on and model.supports_smm else "no"


def _set_feature(firmware: etree._Element, name: str, enabled: str) -> None:
    feature = firmware.find(f"feature[@name='{name}']")
    if feature is None:
        feature = etree.SubElement(firmware, "feature", enabled=enabled, name=name)
    feature.set("enabled", enabled)


def drop_features(domain: etree._Element, plan: EncryptionPlan) -> None:
    """Remove ``<vmcoreinfo>``, and ``<smm>`` if the model does not support it.

    vmcoreinfo uses DMA of fw_cfg, which crashes the kernel of an encrypted guest. Nova
    adds smm for Secure Boot.
    """
    features = domain.find("features")
    if features is None:
        return
    tags = ["vmcoreinfo"] if plan.model.supports_smm else ["vmcoreinfo", "smm"]
    for element in [e for e in features if e.tag in tags]:
        features.remove(element)


def complete_devices(domain: etree._Element, plan: EncryptionPlan) -> None:
    """Disable option ROMs, and let virtio devices use the IOMMU."""
    _name_virtio_serial_controller(domain)
    for device in required(domain, "devices"):
        complete_device(device)


def _name_virtio_serial_controller(domain: etree._Element) -> None:
    """Add the virtio-serial controller that libvirt would add without an IOMMU."""
    devices = required(domain, "devices")
    if devices.find("controller[@type='virtio-serial']") is not None:
        return
    if devices.find("channel/target[@type='virtio']") is not None:
        etree.SubElement(devices, "controller", type="virtio-serial", index="0")


#: The transforms of an encrypted guest, in the order in which they are applied.
TRANSFORMS: tuple[Transform, ...] = (
    select_firmware,
    lock_memory,
    drop_features,
    complete_devices,
    set_launch_security,
)


def apply(plan: EncryptionPlan, domain: etree._Element) -> None:
    """Apply all transforms to ``domain``, in place.

    :raises DomainXMLError: libvirt could not start the domain.
    """
    tags = [element.tag for element in domain]
    for tag in ("os", "memoryBacking", "features", "devices"):
        # libvirt reads all elements of a tag, the transforms change only the first.
        if tags.count(tag) > 1:
            raise DomainXMLError(f"domain XML: <domain> has more than one <{tag}>")
    for transform in TRANSFORMS:
        transform(domain, plan)


def complete_device(device: etree._Element) -> None:
    """Change one device in place, as :func:`complete_devices` does."""
    _disable_option_rom(device)
    _use_iommu(device)


def complete_device_xml(xml: str) -> str:
    """Return the XML of a device that is to be attached, changed for encryption.

    :raises DomainXMLError: ``xml`` is not XML.
    """
    device = parse(xml, indent=True)
    complete_device(device)
    return safe_xml.render(device)


def _disable_option_rom(device: etree._Element) -> None:
    """Disable iPXE, which cannot use DMA in encrypted memory."""
    if device.tag != "interface":
        return
    rom = ensure(device, "rom")
    for attribute in ("bar", "file"):
        rom.attrib.pop(attribute, "")
    rom.set("enabled", "no")


def _use_iommu(device: etree._Element) -> None:
    """Limit a virtio device to the pages that the guest shares with the host."""
    if _is_virtio(device):
        ensure(device, "driver").set("iommu", "on")


#: How to recognise a virtio device: child element (None: the device itself),
#: attribute, values.
_VIRTIO_MARKS: dict[str, tuple[str | None, str, frozenset[str]]] = {
    "disk": ("target", "bus", frozenset({"virtio"})),
    "interface": ("model", "type", frozenset({"virtio"})),
    "rng": (None, "model", frozenset({"virtio"})),
    "memballoon": (None, "model", frozenset({"virtio"})),
    "video": ("model", "type", frozenset({"virtio"})),
    "input": (None, "bus", frozenset({"virtio"})),
    "vsock": (None, "model", frozenset({"virtio"})),
    "sound": (None, "model", frozenset({"virtio"})),
}


def _is_virtio(device: etree._Element) -> bool:
    if device.tag == "controller":
        return device.get("type") == "virtio-serial" or (
            device.get("type") == "scsi" and device.get("model") == "virtio-scsi"
        )
    mark = _VIRTIO_MARKS.get(device.tag)
    if mark is None:
        return False
    place, attribute, values = mark
    element = device if place is None else child(device, place)
    return element is not None and element.get(attribute) in values
