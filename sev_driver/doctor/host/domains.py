# SPDX-License-Identifier: Apache-2.0

"""Running domains: what the doctor keeps of their XML, and what it says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from lxml import etree

from sev_driver import safe_xml
from sev_driver.domain import verify
from sev_driver.domain.forbidden_devices import is_pci_device
from sev_driver.domain.xml import parse as parse_domain
from sev_driver.exceptions import DetectionError, SevDriverError
from sev_driver.model import MemoryEncryptionModel

#: Nova's metadata, in the namespaces of all its releases.
_NOVAS = re.compile(r"\{http://openstack\.org/xmlns/libvirt/nova/[\d.]+\}instance")

#: Of a guest to which QEMU's arguments give SEV, which are not kept: its model.
_BY_COMMAND_LINE = "sev-by-command-line"

#: The number of PCI devices of the host.
_PCI_DEVICES = "pci-devices"

#: All else that is kept of a domain: no device, no path, no password.
_KEPT = ("uuid", "name", "memory", "launchSecurity/policy")


@dataclasses.dataclass(frozen=True)
class RunningDomain:
    """``memory_kib`` is None if the XML has no known unit of it.

    ``novas`` is true if its metadata are those that Nova gives its servers, whose
    uuid is then the server's. ``pci_devices`` counts the PCI devices of the host.
    """

    uuid: str
    name: str
    model: MemoryEncryptionModel | None
    memory_kib: int | None
    novas: bool = False
    pci_devices: int = 0


_UNITS = {"": 1, "k": 1, "KiB": 1, "M": 1024, "MiB": 1024, "G": 1 << 20, "GiB": 1 << 20}


def sift(texts: Iterable[str]) -> bytes:
    """Return what is needed of each domain's XML, as one document."""
    root = etree.Element("domains")
    for text in texts:
        try:
            domain = parse_domain(text)
        except SevDriverError:
            continue
        kept = etree.SubElement(root, "domain")
        if any(
            _NOVAS.fullmatch(str(each.tag)) for each in domain.iterfind("metadata/*")
        ):
            kept.set("nova", "yes")
        devices = sum(map(is_pci_device, domain.iterfind("devices/*")))
        if devices:
            kept.set(_PCI_DEVICES, str(devices))
        for path in _KEPT:
            _copy(domain, kept, path)
        model = verify.encryption_model(text)
        if model is not None and domain.find("launchSecurity") is None:
            kept.set(_BY_COMMAND_LINE, model.value)
    return etree.tostring(root, pretty_print=True)


def _copy(domain: etree._Element, kept: etree._Element, path: str) -> None:
    name, _, child = path.partition("/")
    found = domain.find(name)
    if found is None:
        return
    copy = etree.SubElement(kept, name)
    for attribute, value in found.attrib.items():
        copy.set(attribute, value)
    if not child:
        copy.text = found.text
    elif (text := found.findtext(child)) is not None:
        etree.SubElement(copy, child).text = text


def parse(document: bytes) -> tuple[RunningDomain, ...]:
    """Read what :func:`sift` has kept.

    :raises DetectionError: it is not that.
    """
    try:
        root = safe_xml.parse(document)
        return tuple(_domain(element) for element in root.findall("domain"))
    except (safe_xml.UnsafeXML, SevDriverError) as error:
        raise DetectionError(f"running domains: {error}") from error


def _domain(element: etree._Element) -> RunningDomain:
    memory = element.find("memory")
    kib = None
    if memory is not None and (memory.text or "").strip().isdecimal():
        unit = _UNITS.get(memory.get("unit", ""))
        kib = None if unit is None else int((memory.text or "").strip()[:18]) * unit
    return RunningDomain(
        element.findtext("uuid") or "",
        element.findtext("name") or "",
        _model(element),
        kib,
        element.get("nova") == "yes",
        _number(element.get(_PCI_DEVICES)),
    )


def _number(text: str | None) -> int:
    """Return a number that :func:`sift` has written; 0 for anything else."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,6}", text) else 0


def _model(element: etree._Element) -> MemoryEncryptionModel | None:
    by_command_line = element.get(_BY_COMMAND_LINE)
    for model in MemoryEncryptionModel:
        if model.value == by_command_line:
            return model
    return verify.encryption_model(etree.tostring(element))
