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

"""Domain XML: what an encrypted guest needs, one transform a concern.

Each transform takes the ``<domain>`` element and changes it in place. Applied
twice it changes nothing more, and the order of the list does not matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from lxml import etree

from sev_driver import device_needs, safe_xml
from sev_driver.domain_xml import ensure, parse_domain, required
from sev_driver.exceptions import DomainXMLError
from sev_driver.launch_security import LaunchSecurity
from sev_driver.model import MemoryEncryptionModel


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to put into a guest's domain.

    ``select_anew`` drops a firmware that was selected for plain guests or for
    another generation, as Nova 32 and older does.
    """

    launch_security: LaunchSecurity
    select_anew: bool = False

    @property
    def model(self) -> MemoryEncryptionModel:
        return self.launch_security.model


Transform = Callable[[etree._Element, Plan], None]


def set_launch_security(domain: etree._Element, plan: Plan) -> None:
    """``<launchSecurity>``: exactly one, ours."""
    kernel = domain.find("os/kernel") is not None
    wanted = plan.launch_security.to_element(kernel)
    existing = domain.findall("launchSecurity")
    for surplus in existing[1:]:
        domain.remove(surplus)
    if existing:
        domain.replace(existing[0], wanted)
    else:
        domain.append(wanted)


def lock_memory(domain: etree._Element, plan: Plan) -> None:
    """``<memoryBacking><locked/>``: the firmware pins a guest's pages.

    Not those of SEV-SNP, whose memory the kernel itself keeps (guest_memfd).
    """
    if plan.model is not MemoryEncryptionModel.AMD_SEV_SNP:
        ensure(ensure(domain, "memoryBacking"), "locked")
        return
    backing = domain.find("memoryBacking")
    if backing is None:
        return
    for locked in backing.findall("locked"):
        backing.remove(locked)
    if len(backing) == 0:
        domain.remove(backing)


def select_firmware(domain: etree._Element, plan: Plan) -> None:
    """Have libvirt select a firmware without Secure Boot unless it was asked for.

    Left alone, libvirt takes the first descriptor that claims ``amd-sev``: on
    Debian the one with enrolled keys and SMM. And libvirt 9.0 refuses
    ``loader/@secure`` beside ``os/@firmware``, where the features say the same.
    """
    os = required(domain, "os")
    if plan.select_anew:
        _forget_firmware(os)
    if os.get("firmware") != "efi":
        return
    loader = os.find("loader")
    secure = "no"
    if loader is not None:
        secure = str(loader.attrib.pop("secure", secure))
        if not loader.attrib and not (loader.text or "").strip():
            os.remove(loader)
    firmware = ensure(os, "firmware")
    secure = _feature(firmware, "secure-boot", secure)
    if secure == "no":
        _feature(firmware, "enrolled-keys", "no")
    if plan.model is MemoryEncryptionModel.AMD_SEV_SNP:
        # It has no flash: libvirt then selects one to be loaded as a ROM.
        ensure(os, "loader").set("stateless", "yes")


def _forget_firmware(os: etree._Element) -> None:
    for tag in ("loader", "nvram"):
        for element in os.findall(tag):
            os.remove(element)
    os.set("firmware", "efi")


def _feature(firmware: etree._Element, name: str, enabled: str) -> str:
    """Set a firmware feature unless it is set already; return its value."""
    feature = firmware.find(f"feature[@name='{name}']")
    if feature is None:
        feature = etree.SubElement(firmware, "feature", enabled=enabled, name=name)
    return str(feature.get("enabled"))


def drop_vmcoreinfo(domain: etree._Element, plan: Plan) -> None:
    """No ``<vmcoreinfo>``: its fw_cfg DMA crashes an encrypted guest's kernel."""
    features = domain.find("features")
    if features is not None:
        for element in features.findall("vmcoreinfo"):
            features.remove(element)


def complete_devices(domain: etree._Element, plan: Plan) -> None:
    """Each device: no option ROM, and the IOMMU for virtio."""
    _name_virtio_serial_controller(domain)
    for device in required(domain, "devices"):
        device_needs.complete(device)


def _name_virtio_serial_controller(domain: etree._Element) -> None:
    """Name the controller that libvirt would add by itself, without an IOMMU."""
    devices = required(domain, "devices")
    if devices.find("controller[@type='virtio-serial']") is not None:
        return
    if devices.find("channel/target[@type='virtio']") is not None:
        etree.SubElement(devices, "controller", type="virtio-serial", index="0")


#: The transforms of an encrypted guest, in the order in which they are applied.
TRANSFORMS: tuple[Transform, ...] = (
    select_firmware,
    lock_memory,
    drop_vmcoreinfo,
    complete_devices,
    set_launch_security,
)


def apply(plan: Plan, xml: str) -> str:
    """Return ``xml`` with all transforms applied.

    :raises DomainXMLError: ``xml`` is not a domain that libvirt could start.
    """
    return complete(plan, read(xml))


def read(xml: str) -> etree._Element:
    """Return the ``<domain>``, as :func:`complete` takes it.

    :raises DomainXMLError: ``xml`` is not a domain such as libvirt writes.
    """
    return parse_domain(xml, indent=True)


def complete(plan: Plan, root: etree._Element) -> str:
    """Return the XML of the domain with all transforms applied to it.

    :raises DomainXMLError: it is not a domain that libvirt could start.
    """
    for tag in ("os", "memoryBacking", "features", "devices"):
        # libvirt takes what it wants from any of them, and we change the first.
        if len(root.findall(tag)) > 1:
            raise DomainXMLError(f"domain XML: <domain> has more than one <{tag}>")
    for transform in TRANSFORMS:
        transform(root, plan)
    return safe_xml.render(root)
