# SPDX-License-Identifier: Apache-2.0

"""What is read of a host: from libvirt, the kernel, firmware folders, saved files."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import uuid
from collections.abc import Sequence
from typing import Any

from fuzz.source import Source
from fuzz.target import DATA, Target, files, must, own_errors
from sev_driver import safe_xml
from sev_driver.host import cpuid, facts, firmware
from sev_driver.host.cpuid import MemoryEncryptionLeaf
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import (
    KvmParameter,
    VmTypes,
    parse_version,
    version_of_number,
)
from sev_driver.host.firmware import FirmwareDescriptor
from sev_driver.host.guest_firmware import GuestFirmware
from sev_driver.model import MemoryEncryptionModel

DOCTYPE = b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/hostname'>]><a>&b;</a>"


def _hosts(key: str) -> list[bytes]:
    """Return one entry of each of the tests' descriptions of hosts."""
    found = (tomllib.loads(p.read_text()) for p in sorted(DATA.glob("hosts/*.toml")))
    return sorted({str(host[key]).strip().encode() for host in found if key in host})


def _xml(data: bytes) -> None:
    try:
        root = safe_xml.parse(data)
    except safe_xml.UnsafeXML:
        return
    docinfo: Any = root.getroottree().docinfo
    must(not docinfo.doctype, "a DOCTYPE went through")
    again = safe_xml.parse(safe_xml.render(root))
    must(again.tag == root.tag, "what was rendered is another document")


def _domain_capabilities(data: bytes) -> None:
    with own_errors():
        found = DomainCapabilities.parse(data)
        for number in (found.max_guests, found.max_es_guests):
            must(number is None or -(2**31) <= number < 2**31, f"{number} guests")
        must(found.sev or found.max_guests is None, "a number without SEV")


def _kernel_parameters(data: bytes) -> None:
    parameter = KvmParameter("/p", data.decode("ascii", "replace"))
    count = parameter.count
    must(count is None or 0 <= count < 10**10, f"{count} ASIDs")
    must(isinstance(parameter.enabled, bool), "neither on nor off")


def _misc_cgroup(data: bytes) -> None:
    with own_errors():
        for key, value in facts.parse_misc(data.decode("ascii", "replace")).items():
            must(0 < len(key) <= 64 and 0 <= value < 10**19, f"{key} is {value}")


def _cpuid(data: bytes) -> None:
    must(cpuid.has_leaf(data) in (True, False), "neither there nor not")
    with own_errors():
        leaf = MemoryEncryptionLeaf.from_file(data)
        for register in dataclasses.astuple(leaf):
            must(0 <= register < 2**32, f"a register is {register}")
        must((leaf.sev_slots is None) == (leaf.shared_slots is None), "half a count")


def _firmware(data: bytes) -> None:
    with own_errors():
        found = FirmwareDescriptor.parse(data)
        texts = (found.filename, found.device, *found.interfaces, *found.features)
        must(all(type(text) is str for text in texts), "something is no text")
        for model in MemoryEncryptionModel:
            found.fits(model)


_JSON_WORDS = (
    "pc-q35-*",
    "pc-q35-9.1",
    "*",
    "x86_64",
    "memory",
    "flash",
    "uefi",
    "bios",
    "/a",
    "amd-sev",
    "amd-sev-es",
    "amd-sev-snp",
    "requires-smm",
    "[!a-z]",
    "[z-a]",
)
_JSON_KEYS = (
    "interface-types",
    "mapping",
    "targets",
    "features",
    "device",
    "filename",
    "executable",
    "architecture",
    "machines",
)


def _json(source: Source, depth: int = 0) -> object:
    kind = source.byte() % 12
    if kind < 4 and depth < 6:
        count = source.byte() % 6
        return {
            source.choose(_JSON_KEYS): _json(source, depth + 1) for _ in range(count)
        }
    if kind < 7 and depth < 6:
        return [_json(source, depth + 1) for _ in range(source.byte() % 4)]
    if kind < 10:
        return source.word(_JSON_WORDS)
    return source.choose((None, True, 0, -1, 1e400, 10**30, ""))


def _firmware_folders(data: bytes) -> None:
    """Folders whose files are well-formed, of any form."""
    source, folders = Source(data), list[dict[str, bytes]]()
    for _ in range(source.byte() % 3 + 1):
        names = [source.word(("50-a.json", "60-b.json", ".a", "")) for _ in range(3)]
        folders.append({n: json.dumps(_json(source)).encode() for n in names if n})
    for folder in folders:
        for text in folder.values():
            _firmware(text)
    view = firmware.view(
        ["/f"], {f"/{n}": f for n, f in enumerate(folders)}, source.flag()
    )
    for model in MemoryEncryptionModel:
        must(view.offers(model, [source.text()]) in (True, False, None), "no answer")


#: The GUIDs of OVMF's table, of its entry for hashes and of that for the metadata.
_GUIDS = tuple(
    uuid.UUID(text).bytes_le
    for text in (
        "7255371f-3a3b-4b04-927b-1da6efa8d454",
        "dc886566-984a-4798-a75e-5585a7bf67cc",
        "96b582de-1fb2-45f7-baea-a366c55a082d",
    )
)


def end_of_firmware(data: bytes) -> bytes:
    """Return the end of a firmware: as it is, or with a table of any entries."""
    source = Source(data)
    if source.flag():
        entries = b""
        for _ in range(source.byte() % 5):
            length = source.choose((None, None, None, 0, 17, 18, 65535))
            body = source.take()
            entries += body + (len(body) + 18 if length is None else length).to_bytes(
                2, "little"
            )
            entries += source.choose(_GUIDS)
        size = (len(entries) + 18 + source.choose((0, 0, 0, 1, 9999))) % 65536
        data = source.rest() + entries + size.to_bytes(2, "little") + _GUIDS[-1]
        data += bytes(32)
    return data


def _guest_firmware(data: bytes) -> None:
    data = end_of_firmware(data)
    with own_errors():
        found = GuestFirmware.parse(data)
        must(found.hash_table is None or found.hash_table.base > 0, "no place")
        for model in MemoryEncryptionModel:
            may = found.measures_kernel(model)
            must(not may or found.hash_table is not None, "hashes without a table")
        places = len(found.metadata or ()) * 12
        must(places <= len(data), "more sections than bytes")


def _versions(data: bytes) -> None:
    version = parse_version(data.decode("utf-8", "replace"))
    for number in version or ():
        must(0 <= number < 10**9, f"version {version}")
    version_of_number(int.from_bytes(data[:8], "big"))
    bits = VmTypes(int.from_bytes(data[:8], "big"))
    for model in MemoryEncryptionModel:
        must(bits.offers(model) in (True, False, None), "no answer")


def _descriptors() -> Sequence[bytes]:
    return files("firmware/*/*.json")


def ends_of_firmware() -> Sequence[bytes]:
    return [
        bytes(100),
        b"\1\1\0\x08\0\0\x81\0\0\4\0\0\0\0",
        b"\1\1\0\x04\x40\0\0\0\1\0ASEV" + bytes(60),
    ]


XML_WORDS = (
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<!DOCTYPE",
    "<!ENTITY",
    "&#0;",
    "xmlns=",
)
RAW = (DOCTYPE, DOCTYPE.decode().encode("utf-16"), b"<a/>", b"\xef\xbb\xbf<a/>")

TARGETS = (
    Target("xml", _xml, lambda: [*RAW, *files("domain/*.xml")], XML_WORDS),
    Target(
        "domain-capabilities",
        _domain_capabilities,
        lambda: _hosts("domain_capabilities"),
        ("<sev supported='yes'>", "<maxGuests>", "</maxGuests>", "launchSecurity"),
    ),
    Target(
        "kernel-parameters",
        _kernel_parameters,
        lambda: [b"Y\n", b"N\n", b"1\n", b"99\n", b"4294967295\n", b""],
    ),
    Target(
        "misc-cgroup",
        _misc_cgroup,
        lambda: [
            b"sev 410\nsev_es 99\n",
            b"sev max\nres_a 50\n",
            *_hosts("misc_capacity"),
        ],
        ("sev ", "sev_es ", "max", "\n"),
    ),
    Target(
        "cpuid",
        _cpuid,
        lambda: [
            bytes(16),
            b"CPU:\n   0x8000001f 0x00: eax=0x01679fff ebx=0x00004173 "
            b"ecx=0x000001fd edx=0x00000064\n",
            *_hosts("cpuid"),
        ],
        ("0x8000001f", " eax=0x", " ebx=0x", " ecx=0x", " edx=0x"),
    ),
    Target("firmware", _firmware, _descriptors, ("amd-sev", "machines", "x86_64")),
    Target("firmware-folders", _firmware_folders, lambda: [bytes(range(200))]),
    Target("guest-firmware", _guest_firmware, ends_of_firmware, ("ASEV",)),
    Target(
        "versions", _versions, lambda: [b"6.12.48+deb13-amd64", b"10.5.0", b"6.18-rc1"]
    ),
)
