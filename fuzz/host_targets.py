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

"""What is read of a host: from libvirt, the kernel, firmware folders, saved files."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Sequence
from typing import Any

from fuzz.source import Source
from fuzz.target import DATA, Target, files, must, own_errors
from sev_driver import cpuid, firmware, misc_cgroup, safe_xml
from sev_driver.cpuid import MemoryEncryptionLeaf
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.facts import KvmParameter, parse_version, version_of_number
from sev_driver.firmware import FirmwareDescriptor
from sev_driver.kvm import VmTypes
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
        for key, value in misc_cgroup.parse(data.decode("ascii", "replace")).items():
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
    view = firmware.view(["/f"] * len(folders), folders, source.flag())
    for model in MemoryEncryptionModel:
        must(view.offers(model, [source.text()]) in (True, False, None), "no answer")


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
    Target(
        "versions", _versions, lambda: [b"6.12.48+deb13-amd64", b"10.5.0", b"6.18-rc1"]
    ),
)
