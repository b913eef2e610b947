# SPDX-License-Identifier: Apache-2.0

"""All facts of a host at once, up to what Placement, the log and a user are told."""

from __future__ import annotations

import json

from fuzz.source import Source
from fuzz.target import Target, check_words, must, own_errors
from sev_driver.cmd.capabilities import as_json
from sev_driver.guest import requirements
from sev_driver.guest.requirements import GuestRequest
from sev_driver.host import facts
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.host.cpuid import MemoryEncryptionLeaf
from sev_driver.host.detection import detect
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import (
    HostFacts,
    KvmParameter,
    KvmParameters,
    SevDevice,
    Version,
    Versions,
    VmTypes,
    parse_version,
)
from sev_driver.host.firmware import FirmwareDescriptor, FirmwareView
from sev_driver.host.memory import HostMemory
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability import host_report
from sev_driver.placement import inventory

#: The largest number that Placement stores.
_PLACEMENT = 0x7FFFFFFF
_NUMBERS = ("410", "99", "0", "-1", "509", "1", "4294967295", "-2147483648", "9" * 19)
_TEXTS = (
    "Y\n",
    "N\n",
    "1",
    "0",
    "99",
    "9999999999",
    "2147483648",
    "",
    "\x00\n\x1b[31m",
)
_VERSIONS = ("11.3.0", "10.5.0", "9.0", "6.18", "7.2", "5.4", "0", "x")


def _parameter(source: Source, name: str) -> KvmParameter:
    kind = source.byte() % 8
    if kind == 0:
        return KvmParameter(f"/sys/{name}")
    if kind == 1:
        return KvmParameter(f"/sys/{name}", error="Permission denied")
    return KvmParameter(f"/sys/{name}", source.word(_TEXTS))


def _domain(source: Source) -> DomainCapabilities | None:
    if source.byte() % 8 == 0:
        return None
    sev = source.choose(("yes", "yes", "yes", "no"))
    texts = [source.choose(_NUMBERS) for _ in range(2)]
    tags = ("maxGuests", "maxESGuests")
    counts = "".join(
        f"<{t}>{n}</{t}>" for t, n in zip(tags, texts, strict=True) if source.byte() % 4
    )
    types = source.choose(("", "<value>sev</value>", "<value>sev-snp</value>"))
    launch = f"<launchSecurity supported='yes'><enum name='sectype'>{types}</enum>"
    return DomainCapabilities.parse(
        f"<domainCapabilities><features><sev supported='{sev}'>{counts}</sev>"
        f"{launch}</launchSecurity></features></domainCapabilities>"
    )


def _cpuid(source: Source) -> MemoryEncryptionLeaf | None:
    if source.byte() % 3 == 0:
        return None
    registers = (source.choose((0, 1, 99, 100, 509, 510, 2**32 - 1)) for _ in range(2))
    return MemoryEncryptionLeaf(source.byte(), 0, *registers)


def _firmware(source: Source) -> FirmwareView | None:
    kind = source.byte() % 4
    if kind == 0:
        return None
    features = frozenset({("amd-sev", "amd-sev-es", "amd-sev-snp")[kind - 1]})
    one = FirmwareDescriptor(
        "/a", "memory", frozenset({"uefi"}), ("pc-q35-*",), features
    )
    return FirmwareView(("/f",), (one,) * (source.byte() % 2), source.flag())


def _facts(source: Source) -> HostFacts:
    names = ("sev", "sev_es", "sev_snp", "ciphertext_hiding_asids")
    parameters = KvmParameters(**{name: _parameter(source, name) for name in names})
    with own_errors():
        domain = _domain(source)
        misc = "".join(
            f"{key} {source.choose(_NUMBERS)}\n"
            for key in ("sev", "sev_es")
            if source.flag()
        )
        return HostFacts(
            source.choose(("kvm", "kvm", "kvm", "qemu", "lxc")),
            source.choose(("x86_64", "x86_64", "x86_64", "aarch64")),
            parameters,
            domain,
            "it does not answer" if domain is None else None,
            vendor=source.choose(("AMD", "Hygon", "Intel", "")),
            device=SevDevice(source.choose((True, None, False)), "root:root 0600"),
            cpuid=_cpuid(source),
            misc_capacity=facts.parse_misc(misc),
            vm_types=source.choose((None, VmTypes(0b11101), VmTypes(source.byte()))),
            versions=Versions(*(_version(source) for _ in range(3))),
            firmware=_firmware(source),
            es_beside_snp=source.flag(),
        )
    return HostFacts("kvm", "x86_64", parameters)


def _version(source: Source) -> Version | None:
    return parse_version(source.word(_VERSIONS))


def _conclusion(data: bytes) -> None:
    source = Source(data)
    host = detect(_facts(source))
    json.dumps(as_json(host))
    caps = {model: source.choose((None, 0, 3, 10**6)) for model in host}
    _check_offers(host, caps)
    for model in MemoryEncryptionModel:
        check_words(str(host[model]))
        must(host[model].supported or bool(host[model].reason), "no reason is given")
        request = GuestRequest(model, ("a flavor",), firmware_type="uefi")
        for violation in requirements.check_request(request, host):
            check_words(str(violation))
    for _, text in host_report.lines(host, caps, HostMemory(1024, 512, 1.5)):
        check_words(text)


def _check_offers(host: HostCapabilities, caps: inventory.SlotLimits) -> None:
    offer = inventory.compute_offers(host, caps)
    for model, slots in offer.items():
        must(0 <= slots.total <= _PLACEMENT, f"{slots.total} slots of {model.title}")
        must(host[model].supported or slots.total == 0, "slots of what cannot be had")
    es, snp = MemoryEncryptionModel.AMD_SEV_ES, MemoryEncryptionModel.AMD_SEV_SNP
    if host.shared_slots is not None:
        both = offer[es].total + offer[snp].total
        most = max(host.shared_slots, offer[es].total, offer[snp].total)
        must(both <= most, f"{both} of {host.shared_slots} shared slots are offered")


TARGETS = (
    Target(
        "host-conclusion",
        _conclusion,
        lambda: [bytes(60), bytes(range(2, 90))],
        slow=4,
    ),
)
