# SPDX-License-Identifier: Apache-2.0

"""The XML of a guest that is only thought of: Nova's part a sketch, ours real."""

from __future__ import annotations

import dataclasses
import difflib

from lxml import etree

from sev_driver import safe_xml
from sev_driver.doctor.cloud.facts import Flavor
from sev_driver.domain import encryption
from sev_driver.domain.launch_security import Policies
from sev_driver.exceptions import printable
from sev_driver.guest import request
from sev_driver.guest.launch_inputs import NO_INPUTS, LaunchInputs
from sev_driver.guest.requirements import MACHINE_TYPE, VIRTIO_SCSI, GuestRequest
from sev_driver.nova_release import NovaRelease

#: Stands for what is known only when the guest is made.
_LATER = "..."


@dataclasses.dataclass(frozen=True)
class Sketch:
    """A domain before sev_driver's transforms and after them."""

    novas: str
    xml: str

    def difference(self) -> list[str]:
        """Return the lines of both: ``+`` what was put in, ``-`` what taken out."""
        before, after = self.novas.splitlines(), self.xml.splitlines()
        return [
            f"{line[:1]} {line[2:]}".rstrip()
            for line in difflib.ndiff(before, after)
            if not line.startswith("?")
        ]


def draw(
    flavor: Flavor,
    image: request.ImageProperties,
    asked: GuestRequest,
    nova: int,
    inputs: LaunchInputs = NO_INPUTS,
) -> Sketch:
    """Return the domain of a guest of ``flavor`` and ``image``.

    :param asked: what both ask for; the policies are those by default.
    :param nova: Nova's release.
    :param inputs: what the guest's owner gives.
    """
    launch = Policies().launch_security(asked.model, inputs)
    reselect = NovaRelease(nova).ignores_model_in_firmware_selection(asked.model)
    novas = safe_xml.render(_domain(flavor, image))
    xml = encryption.encrypt(novas, asked, launch, reselect_firmware=reselect)
    return Sketch(novas, xml)


def _domain(flavor: Flavor, image: request.ImageProperties) -> etree._Element:
    """Draw what Nova 34 makes of a guest without encryption, in its main lines."""
    # Nova turns an optional Secure Boot on where the host's firmware has it.
    secure = flavor.extra_specs.get("os:secure_boot") or image.properties.get(
        "os_secure_boot"
    )
    root = etree.Element("domain", type="kvm")
    _add(root, "name", "instance-" + _LATER)
    _add(root, "memory", str(flavor.ram * 1024))
    _add(root, "vcpu", str(flavor.vcpus))
    machine = image.properties.get("hw_machine_type", MACHINE_TYPE)
    os = _add(root, "os", firmware="efi")
    _add(os, "type", "hvm", arch="x86_64", machine=machine)
    _add(os, "loader", secure="yes" if secure in ("required", "optional") else "no")
    _add(os, "boot", dev="hd")
    features = _add(root, "features")
    for name in ("acpi", "apic", "vmcoreinfo"):
        _add(features, name)
    _add_devices(_add(root, "devices"), image)
    return root


def _add_devices(devices: etree._Element, image: request.ImageProperties) -> None:
    bus = image.properties.get("hw_disk_bus", "virtio")
    disk = _add(devices, "disk", type="file", device="disk")
    _add(disk, "driver", name="qemu", type="qcow2")
    _add(disk, "source", file=_LATER)
    _add(disk, "target", dev="vda" if bus == "virtio" else "sda", bus=bus)
    if bus == "scsi":
        model = image.properties.get("hw_scsi_model", VIRTIO_SCSI)
        _add(devices, "controller", type="scsi", model=model)
    interface = _add(devices, "interface", type="bridge")
    model = image.properties.get("hw_vif_model", "virtio")
    _add(interface, "model", type=model)
    _add(interface, "source", bridge=_LATER)
    video = image.properties.get("hw_video_model", "virtio")
    _add(_add(devices, "video"), "model", type=video)
    rng = _add(devices, "rng", model="virtio")
    _add(rng, "backend", "/dev/urandom", model="random")
    _add(devices, "memballoon", model="virtio")


def _add(
    parent: etree._Element, tag: str, text: str | None = None, **attributes: str
) -> etree._Element:
    # A user wrote the image's properties, and XML has no control characters.
    shown = {name: printable(value) for name, value in attributes.items()}
    element = etree.SubElement(parent, tag, shown)
    element.text = text
    return element
