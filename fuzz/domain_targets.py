# SPDX-License-Identifier: Apache-2.0

"""What is read and made of domains: Nova's, and those of anybody else on the host."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import libvirt
from lxml import etree

from fuzz.grammar import Grammar
from fuzz.source import Source
from fuzz.target import Target, check_words, files, must, own_errors
from sev_driver import safe_xml
from sev_driver.compute.unmanaged_guests import EncryptedDomains
from sev_driver.domain import forbidden_devices, transforms, verify
from sev_driver.domain.launch_security import (
    Policies,
    SevLaunchSecurity,
    SnpLaunchSecurity,
)
from sev_driver.domain.xml import parse_domain
from sev_driver.exceptions import EncryptionLost, Violation
from sev_driver.guest.policy import (
    DEFAULT_SEV_ES_POLICY,
    DEFAULT_SEV_POLICY,
    DEFAULT_SNP_POLICY,
)
from sev_driver.guest.requirements import GuestRequest
from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import reserved

_DEVICES = (
    "disk", "interface", "controller", "rng", "memballoon", "video", "input", "vsock",
    "hostdev", "channel", "tpm",
)  # fmt: skip
_DOMAIN = Grammar(
    "domain",
    {
        "domain": (
            "launchSecurity", "devices", "os", "name", "memoryBacking", "features",
            "metadata",
        ),
        "launchSecurity": ("policy", "cbitpos", "session", "policy"),
        "devices": _DEVICES,
        "os": ("loader", "nvram", "firmware", "kernel", "type"),
        "firmware": ("feature",),
        "memoryBacking": ("locked", "source"),
        "features": ("vmcoreinfo", "acpi", "smm"),
        "metadata": ("domain", "launchSecurity"),
        "policy": ("policy",),
        **dict.fromkeys(_DEVICES, ("target", "model", "driver", "rom", "mac", "alias")),
    },
    (
        "type", "model", "bus", "dev", "device", "name", "enabled", "firmware",
        "secure", "stateless", "iommu", "bar", "file", "address", "vcek", "xml:id",
    ),
    (
        "0x0033", "0x0037", "0x30000", "0x0032", "51", "1", "0", "sev", "sev-snp",
        "efi", "yes", "no", "virtio", "virtio-scsi", "virtio-serial", "scsi", "ide",
        "sata", "disk", "cdrom", "hostdev", "mdev", "pci", "secure-boot",
        "enrolled-keys", "e1000", "tdx", "vda", "/usr/share/OVMF/OVMF_CODE.fd",
    ),
)  # fmt: skip

_PLANS = (
    transforms.EncryptionPlan(SevLaunchSecurity(DEFAULT_SEV_POLICY)),
    transforms.EncryptionPlan(
        SevLaunchSecurity(DEFAULT_SEV_ES_POLICY), reselect_firmware=True
    ),
    transforms.EncryptionPlan(SnpLaunchSecurity(DEFAULT_SNP_POLICY)),
    transforms.EncryptionPlan(
        SnpLaunchSecurity(DEFAULT_SNP_POLICY), reselect_firmware=True
    ),
)

#: A policy as libvirt takes it: hexadecimal, whether it says so or not.
_POLICY = re.compile(r"(?:0x)?([0-9a-f]{1,16})", re.ASCII | re.IGNORECASE)


def _grown_or_raw(data: bytes) -> tuple[Source, str]:
    """Return the input as XML, grown from it or as it is, and what is left of it."""
    source = Source(data)
    if source.flag():
        # The first bytes stay for choices that are not about the document.
        choices = Source(source.take(4))
        return choices, _DOMAIN.grow(source)
    return source, source.rest().decode("utf-8", "surrogateescape")


def _apply(data: bytes) -> None:
    choices, xml = _grown_or_raw(data)
    plan = choices.choose(_PLANS)
    with own_errors():
        once = _transformed(plan, xml)
        again = _transformed(plan, once)
        must(_words(again) == _words(once), "applied twice it changes something")
        verify.verify_domain(plan.launch_security, once)
        must(_encrypted(plan.model, once), "what it makes is not encrypted")


def _transformed(plan: transforms.EncryptionPlan, xml: str) -> str:
    root = parse_domain(xml, indent=True)
    transforms.apply(plan, root)
    return safe_xml.render(root)


def _words(xml: str) -> list[str]:
    """Leave white space aside: beside texts, where none belongs, it moves."""
    return xml.replace(">", "> ").replace("<", " <").split()


def _guard(data: bytes) -> None:
    choices, xml = _grown_or_raw(data)
    model = choices.choose(tuple(MemoryEncryptionModel))
    try:
        with own_errors():
            verify.verify_domain(Policies().launch_security(model), xml)
            must(_encrypted(model, xml), "the guard let it through")
            must(
                verify.encryption_model(xml) is model, "the guard and the count differ"
            )
    except EncryptionLost as error:
        check_words(str(error))


def _encrypted(model: MemoryEncryptionModel, xml: str) -> bool:
    """Whether libvirt, which reads by XPath, would start it so; not open to debugging.

    Written apart from the guard, so as not to share its errors.
    """
    root: Any = etree.fromstring(xml.encode())
    found = root.xpath("/domain/launchSecurity")
    policies = root.xpath("/domain/launchSecurity/policy")
    number = _POLICY.fullmatch(str(root.xpath("string(/domain/launchSecurity/policy)")))
    if len(found) != 1 or len(policies) != 1 or number is None:
        return False
    kind, policy = found[0].get("type"), int(number[1], 16)
    if model is MemoryEncryptionModel.AMD_SEV_SNP:
        return kind == "sev-snp" and not policy & 1 << 19
    es = model is MemoryEncryptionModel.AMD_SEV_ES
    return kind == "sev" and bool(policy & 1) and bool(policy & 4) is es


_REQUEST = GuestRequest(MemoryEncryptionModel.AMD_SEV, ("a flavor",))


def _devices(data: bytes) -> None:
    _, xml = _grown_or_raw(data)
    with own_errors():
        _check_words(forbidden_devices.check_domain(_REQUEST, parse_domain(xml)))
    with own_errors():
        _check_words(forbidden_devices.check_device(_REQUEST, xml))
    with own_errors():
        once = transforms.complete_device_xml(xml)
        again = transforms.complete_device_xml(once)
        must(_words(again) == _words(once), "completed twice it changes")


def _check_words(violations: tuple[Violation, ...]) -> None:
    for violation in violations:
        check_words(str(violation))


_LAUNCH = [
    f"<domain><launchSecurity type='{kind}'>"
    f"<policy>{policy}</policy></launchSecurity></domain>"
    for kind, policy in (("sev", "0x0033"), ("sev", "0x37"), ("sev-snp", "0x30000"))
]


class _Domain:
    def __init__(self, number: int, xml: str, code: int | None) -> None:
        self._number, self._xml, self._code = number, xml, code

    def UUIDString(self) -> str:
        return f"{self._number:08x}-0000-0000-0000-000000000000"

    def ID(self) -> int:
        return self._number

    def XMLDesc(self, flags: int) -> str:
        if self._code is None:
            return self._xml
        error = libvirt.libvirtError("it is gone")
        error.err = (self._code, 0, "it is gone", 0, "", "", "", 0, 0)
        raise error


class _Log(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        check_words(record.getMessage())


@contextlib.contextmanager
def _log_is_read() -> Iterator[None]:
    """Look at each line that would be logged instead of logging it."""
    logger, handler = logging.getLogger("sev_driver.compute.unmanaged_guests"), _Log()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)


class _Host:
    """Of Nova's libvirt Host, and of its connection, what the list needs."""

    domains: Sequence[_Domain] = ()

    @property
    def _wrapped_conn(self) -> _Host:
        return self

    def listDomainsID(self) -> list[int]:
        return [domain.ID() for domain in self.domains]

    def list_instance_domains(self, only_running: bool) -> Sequence[_Domain]:
        return self.domains


_CODES = (None, None, None, libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INTERNAL_ERROR)


def _running(data: bytes) -> None:
    """Some domains at once: one that cannot be read takes no other along."""
    host, source = _Host(), Source(data)
    guests = EncryptedDomains(host)
    hostile = _DOMAIN.grow(Source(source.take())) if source.flag() else source.text()
    for _ in range(2):
        code = source.choose(_CODES)
        host.domains = (_Domain(1, hostile, code), _Domain(2, _LAUNCH[0], None))
        with _log_is_read():
            found = guests.list()
        must(found[host.domains[1].UUIDString(), 2].value == "amd-sev", "it is lost")
        must(
            all(isinstance(m, MemoryEncryptionModel) for m in found.values()),
            "no model",
        )
    counted = {source.word(("sev", "sev_es")): source.byte() for _ in range(2)}
    reserved.guests_outside_libvirt(found.values(), counted, counted)


def _seeds(extra: Sequence[str]) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        raw = [
            b"\0" + xml for xml in (*files("domain/**/*.xml"), *map(str.encode, extra))
        ]
        return [*raw, *(bytes([1, 4, n, n, n, n, *range(n, n + 60)]) for n in range(8))]

    return seeds


_DEVICE = ["<disk device='disk'><target bus='virtio'/></disk>", "<hostdev type='pci'/>"]
WORDS = ("<launchSecurity type='sev'>", "<policy>", "</policy>", "<domain>", "0x33")

TARGETS = (
    Target("domain-apply", _apply, _seeds(["<domain/>"]), WORDS),
    Target("domain-guard", _guard, _seeds(_LAUNCH), WORDS),
    Target("domain-devices", _devices, _seeds(_DEVICE)),
    Target("domain-running", _running, _seeds(_LAUNCH), WORDS),
)
