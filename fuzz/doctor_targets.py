# SPDX-License-Identifier: Apache-2.0

"""What sev-doctor is given from elsewhere: archives, nova.conf, the kernel's texts."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from fuzz.source import Source
from fuzz.target import Target, files, must, own_errors
from sev_driver.doctor.host import (
    archive,
    diagnosis,
    domains,
    gather,
    nova_conf,
    parsers,
    report,
)
from sev_driver.doctor.host.archive import Archive, Failure
from sev_driver.doctor.host.diagnosis import NODES
from sev_driver.doctor.host.libvirt import Nobody
from sev_driver.doctor.text import Origin, Style
from sev_driver.exceptions import SevDriverError
from sev_driver.host import kernel, kernel_log
from sev_driver.host.processor import Processor
from sev_driver.model import MemoryEncryptionModel


class _Touched(BaseException):
    """This machine was looked at; no ``except Exception`` hides it."""


@contextlib.contextmanager
def _nothing_is_opened() -> Iterator[None]:
    """Whatever is in an archive, no file of this machine is opened for it."""

    def touched(path: object, *args: object, **more: object) -> Any:
        raise _Touched(f"{path!r} was opened")

    kept = builtins.open, os.open, os.listdir, os.stat
    builtins.open = os.open = os.listdir = os.stat = touched  # type: ignore[assignment]
    try:
        yield
    finally:
        builtins.open, os.open, os.listdir, os.stat = kept


def _judge(found: Archive) -> None:
    """Do with an archive what ``sev-doctor --from`` does."""
    with _nothing_is_opened():
        evidence = gather.gather(found, Nobody())
        model = MemoryEncryptionModel.AMD_SEV
        judged = diagnosis.diagnose(NODES, evidence, model, MemoryEncryptionModel)
        json.dumps(report.as_json(judged, Origin("1", "host", "")))
        text = report.as_text(judged, Style(verbose=True))
        must(all(map(str.isprintable, text.split("\n"))), f"printed: {text!r}")


def _archive(data: bytes) -> None:
    found = None
    with own_errors():
        found = archive.unpack(data)
        must(archive.unpack(archive.pack(found)) == found, "packed it is another")
    if found is not None:
        _judge(found)  # which has no errors left, only what is not known


_DESCRIPTOR = b"""{
 "interface-types": ["uefi"], "features": ["amd-sev", "amd-sev-es", "amd-sev-snp"],
 "mapping": {"device": "memory", "filename": "/OVMF.fd"},
 "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}]}"""

#: What a host's archive holds, with answers that make sense.
_ANSWERS: dict[str, tuple[bytes, ...]] = {
    "asked/nova/files": (
        b'["/etc/nova/nova.conf"]',
        b"[1, null]",
        b"{}",
        b'["/a", "/a"]',
    ),
    "asked/nova/etc/nova/nova.conf": (b"[sev]\nnum_sev_es_guests = 1\n", b"[\n=\n"),
    "asked/libvirt/uri": (b"qemu:///system", b"\xff"),
    "asked/libvirt/versions": (b"[[11, 3, 0], null]", b"[]", b"[[1e99]]"),
    "asked/libvirt/domains.xml": (
        b"<domains><domain><uuid>a</uuid><memory unit='KiB'>1</memory>"
        b"<launchSecurity type='sev'><policy>0x33</policy></launchSecurity>"
        b"</domain></domains>",
        b"<domains><domain><memory>\xd9\xa1</memory></domain></domains>",
    ),
    "asked/libvirt/domain-capabilities-kvm.xml": (
        b"<domainCapabilities><features><sev supported='yes'>"
        b"<maxGuests>9</maxGuests></sev></features></domainCapabilities>",
    ),
    "asked/libvirt/qemu.conf": (b'user = "root"\n', b"group =  \n \n#"),
    "asked/kernel/machine": (b"x86_64", b"\xff"),
    "asked/kernel/command-line": (b"amd_iommu=off sev=\x1b[2J",),
    "asked/kernel/log": (b"[ 1.0] ccp: SEV API:1.55\x1b[31m\n", b"\x85SEV"),
    "asked/kvm/vm-types": (b"28", b"[28]", b"9" * 5000, b"-1"),
    "asked/kernel/release": (b"6.12.48", b"\xff"),
    "asked/reader": (b"root",),
    "files/proc/cpuinfo": (
        b"vendor_id\t: AuthenticAMD\ncpu family\t: 25\nflags\t\t: sev sev_es\n",
        b"vendor_id :" + b" \n" * 90,
    ),
    "files/proc/meminfo": (b"MemTotal: 99 kB\nHugetlb: 0 kB\n",),
    "files/sys/module/kvm_amd/parameters/sev": (b"Y\n", b"N", b"\x1b[2J\n\n"),
    "files/sys/module/kvm_amd/parameters/sev_es": (b"Y\n", b"\xff"),
    "files/sys/fs/cgroup/misc.capacity": (b"sev 9\nsev_es 3\n", b"sev"),
    "files/run/libvirtd.pid": (b"77\n",),
    "files/proc/77/limits": (b"Max locked memory 1 2 bytes\n",),
    "folders/sys/module": (b'["kvm_amd"]', b"[[]]"),
    "folders/sys/bus/pci/drivers/ccp": (b'["0000:01:00.1"]', b'["../../etc"]'),
    "folders/usr/share/qemu/firmware": (b'["50.json"]', b'["../../../etc/shadow", ""]'),
    "files/usr/share/qemu/firmware/50.json": (_DESCRIPTOR, b"{}", b'{"mapping": 1}'),
    "status/OVMF.fd": (b'["-", 420, "root", "root"]',),
    "asked/guest-firmware/OVMF.fd": (
        b'["%s", true, ["amd-sev-snp"]]' % (b"ab" * 32),
        b'["\\u001b[2J\\n", false, []]',
        b'["ab", 1, []]',
        b'["ab", true, [[], {}, null]]',
    ),
    "folders/sys/kernel/iommu_groups": (b'["0", "/etc"]',),
    "folders/sys/class/iommu": (b'["ivhd0"]',),
    "status/dev/sev": (b'["c", 384, "root", "root\\u001b[2J\\n"]', b'["c", true, 1]'),
    "status/dev/kvm": (b'["c", 432, "root", "kvm"]', b"[]"),
}
_NAMES = tuple(_ANSWERS)


def _answers(source: Source) -> Archive:
    """An archive that is well-formed, of answers that need not be."""
    answers: dict[str, bytes | Failure] = {}
    for name in _NAMES:
        kind = source.byte() % 8
        if kind == 0:
            continue
        if kind == 1:
            errno = source.choose((None, 0, 2, 13, 21, -1, 10**30))
            answers[name] = Failure(source.text(20), errno)
        elif kind == 2:
            answers[name] = source.take(60)
        else:
            answers[name] = source.choose(_ANSWERS[name])
    return Archive(source.text(9), source.text(9), answers)


def _evidence(data: bytes) -> None:
    _judge(_answers(Source(data)))


def _nova_conf(data: bytes) -> None:
    kept = nova_conf.sift(data)
    must(nova_conf.sift(kept) is not None, "no answer")
    for option in nova_conf.in_force(nova_conf.parse("/a", kept)).values():
        readable = option.section == nova_conf.OURS or option.name in (
            nova_conf.READ.get(option.section, ())
        )
        must(readable or option.value is None, f"a value is kept of {option}")


def _texts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    readers: tuple[Callable[[str], object], ...] = (
        Processor.parse, parsers.memory, parsers.memlock,
        kernel_log.concerning, parsers.qemu_conf,
    )  # fmt: skip
    for reader in readers:
        with own_errors():
            reader(text)
    parsers.sift_qemu_conf(data)
    kernel.sift_command_line(data)
    with contextlib.suppress(SevDriverError):
        domains.parse(domains.sift([text]))
    with own_errors():
        domains.parse(data)


def _archives() -> list[bytes]:
    return [
        archive.pack(Archive("2026-01-01", "1", {})),
        archive.pack(_answers(Source(bytes([3, 0] * 90)))),
        archive.pack(_answers(Source(bytes([1, 1, 97] * 90)))),
    ]


_CONF = b"""[DEFAULT]
compute_driver = sev_driver.SEVDriver
transport_url = rabbit://nova:password@host
[libvirt]
virt_type = kvm
[sev]
allow_debug = true
"""

TARGETS = (
    Target("doctor-archive", _archive, _archives, slow=16),
    Target(
        "doctor-evidence",
        _evidence,
        lambda: [bytes([3, n] * 60) for n in range(4)],
        slow=40,
    ),
    Target(
        "doctor-nova-conf", _nova_conf, lambda: [_CONF], ("[DEFAULT]", "[sev]", " = ")
    ),
    Target(
        "doctor-texts",
        _texts,
        lambda: (
            [each for answers in _ANSWERS.values() for each in answers]
            + files("domain/amd-sev/*.xml")
        ),
        ("flags\t\t: ", "MemTotal: ", "Max locked memory ", "unlimited"),
        slow=2,
    ),
)
