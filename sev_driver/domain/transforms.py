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
from sev_driver.domain.xml import child, ensure, parse, required, xpath
from sev_driver.exceptions import DomainXMLError
from sev_driver.model import MemoryEncryptionModel


@dataclasses.dataclass(frozen=True)
class EncryptionPlan:
    """How to encrypt a domain.

    ``reselect_firmware`` is true to remove the guest firmware that Nova 32 and older
    selected without regard to the model. ``keeps_locked_memory`` is true to leave a
    SEV-SNP guest's memory locked if Nova locked it. ``measures_kernel`` is false for a
    guest that has run with a kernel that was not measured, and has no place for hashes.
    """

    launch_security: LaunchSecurity
    reselect_firmware: bool = False
    keeps_locked_memory: bool = False
    measures_kernel: bool = True

    @property
    def model(self) -> MemoryEncryptionModel:
        return self.launch_security.model


Transform = Callable[[etree._Element, EncryptionPlan], None]


def set_launch_security(domain: etree._Element, plan: EncryptionPlan) -> None:
    """Set the one ``<launchSecurity>``."""
    os = child(domain, "os")
    kernel = os is not None and child(os, "kernel") is not None
    wanted = plan.launch_security.to_element(kernel and plan.measures_kernel)
    existing = list(domain.iterchildren("launchSecurity"))
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
    backing = child(domain, "memoryBacking")
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
    loader = child(os, "loader")
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
    return "yes" if _HAS_SECURE_BOOT(os) and model.supports_smm else "no"


_HAS_SECURE_BOOT = xpath(
    "boolean(firmware/feature[@name='secure-boot'][@enabled='yes']"
    " | loader[@secure='yes'])"
)


def _set_feature(firmware: etree._Element, name: str, enabled: str) -> None:
    for feature in firmware.iterchildren("feature"):
        if feature.get("name") == name:
            feature.set("enabled", enabled)
            return
    etree.SubElement(firmware, "feature", enabled=enabled, name=name)


def drop_features(domain: etree._Element, plan: EncryptionPlan) -> None:
    """Remove ``<vmcoreinfo>``, and ``<smm>`` if the model does not support it.

    vmcoreinfo uses DMA of fw_cfg, which crashes the kernel of an encrypted guest. Nova
    adds smm for Secure Boot.
    """
    features = child(domain, "features")
    if features is None:
        return
    tags = ["vmcoreinfo"] if plan.model.supports_smm else ["vmcoreinfo", "smm"]
    for element in list(features.iterchildren(*tags)):
        features.remove(element)


def complete_devices(domain: etree._Element, plan: EncryptionPlan) -> None:
    """Disable option ROMs, and let virtio devices use the IOMMU."""
    devices = required(domain, "devices")
    if _LACKS_SERIAL_CONTROLLER(devices):
        # libvirt would add it, without an IOMMU.
        etree.SubElement(devices, "controller", type="virtio-serial", index="0")
    for interface in devices.iterchildren("interface"):
        _disable_option_rom(interface)
    for device in _DEVICES_WITHOUT_IOMMU(devices):
        _use_iommu(device)


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
    if device.tag == "interface":
        _disable_option_rom(device)
    if _NEEDS_IOMMU(device):
        _use_iommu(device)


def complete_device_xml(xml: str) -> str:
    """Return the XML of a device that is to be attached, changed for encryption.

    :raises DomainXMLError: ``xml`` is not XML.
    """
    device = parse(xml, indent=True)
    complete_device(device)
    return safe_xml.render(device)


def _disable_option_rom(interface: etree._Element) -> None:
    """Disable iPXE, which cannot use DMA in encrypted memory."""
    rom = child(interface, "rom")
    if rom is None:
        etree.SubElement(interface, "rom", enabled="no")
        return
    for attribute in ("bar", "file"):
        rom.attrib.pop(attribute, "")
    rom.set("enabled", "no")


def _use_iommu(device: etree._Element) -> None:
    """Limit a virtio device to the pages that the guest shares with the host."""
    ensure(device, "driver").set("iommu", "on")


#: The virtio devices, as XPath.
_VIRTIO = (
    "disk[target/@bus='virtio']",
    "interface[model/@type='virtio']",
    "controller[@type='virtio-serial']",
    "controller[@type='scsi'][@model='virtio-scsi']",
    "rng[@model='virtio']",
    "memballoon[@model='virtio']",
    "video[model/@type='virtio']",
    "input[@bus='virtio']",
    "vsock[@model='virtio']",
    "sound[@model='virtio']",
)
#: Nova has set the IOMMU of most devices already.
_WITHOUT_IOMMU = tuple(f"{device}[not(driver/@iommu='on')]" for device in _VIRTIO)
_DEVICES_WITHOUT_IOMMU = xpath(" | ".join(_WITHOUT_IOMMU))
_NEEDS_IOMMU = xpath(
    f"boolean({' | '.join(f'self::{device}' for device in _WITHOUT_IOMMU)})"
)
_LACKS_SERIAL_CONTROLLER = xpath(
    "boolean(channel/target[@type='virtio']) and not(controller[@type='virtio-serial'])"
)
