# SPDX-License-Identifier: Apache-2.0

"""Gathers all that the doctor goes by, each fact by the driver's own reader."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence

from sev_driver.doctor.host import (
    domains,
    nova_compute,
    nova_conf,
    ownership,
    parsers,
    readers,
)
from sev_driver.doctor.host.evidence import (
    Descriptor,
    Evidence,
    Fact,
    FirmwareContents,
    Import,
    NovaCompute,
)
from sev_driver.doctor.host.libvirt import Questions
from sev_driver.exceptions import DetectionError, MalformedFirmware
from sev_driver.host import files, firmware, firmware_dirs, kernel, reader
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import VIRT_TYPES, HostFacts, Version
from sev_driver.host.files import Source, Status, decoded
from sev_driver.model import MemoryEncryptionModel


def gather(of: Source, questions: Questions, conf: Sequence[str] = ()) -> Evidence:
    """Return what ``of`` shows.

    :param questions: to libvirt.
    :param conf: of nova.conf; by default those of the nova-compute that runs, or those
        of a usual installation.
    """
    compute = readers.fact(lambda: nova_compute.find(of))
    nova_files = _nova_files(of, conf, compute.value)
    options = nova_conf.in_force(
        option
        for path, kept in nova_files.items()
        for option in nova_conf.parse(path, kept.value or b"")
    )
    return Evidence(
        _facts(of, questions, options),
        read_as=readers.text(of, "asked/reader", readers.reader),
        processor=readers.processor(of),
        command_line=readers.fact(lambda: kernel.read_command_line(of)),
        iommu=readers.fact(lambda: kernel.read_iommu(of)),
        secure_processor=readers.fact(lambda: readers.secure_processor(of)),
        kernel_log=readers.fact(lambda: kernel.read_kernel_log(of)),
        modules=readers.fact(lambda: frozenset(files.names(of, "/sys/module"))),
        kvm_device=readers.fact(lambda: files.status(of, str(kernel.DEVICES / "kvm"))),
        sev_opening=readers.fact(lambda: readers.sev_opening(of)),
        sev_device=readers.fact(lambda: files.status(of, str(kernel.DEVICES / "sev"))),
        misc_current=kernel.read_misc_current(of),
        daemon=readers.fact(lambda: readers.daemon(of)),
        apparmor=readers.file(of, "/sys/module/apparmor/parameters/enabled", str.strip),
        selinux=readers.file(of, "/sys/fs/selinux/enforce", str.strip),
        qemu_conf=readers.fact(lambda: readers.qemu_conf(of)),
        libvirt=readers.fact(
            lambda: of.read("asked/libvirt/uri", questions.reach).decode(
                "utf-8", "replace"
            )
        ),
        domains=readers.fact(
            lambda: domains.parse(
                of.read("asked/libvirt/domains.xml", questions.domains)
            )
        ),
        descriptors=_descriptors(of),
        nova_compute=compute,
        nova_release=readers.fact(lambda: nova_compute.release(of)),
        driver_import=_import(of, compute.value),
        nova_files=nova_files,
        options=options,
        memory=readers.file(of, "/proc/meminfo", parsers.memory),
        open_vswitch=readers.fact(lambda: readers.open_vswitch(of)),
    )


def _import(of: Source, compute: NovaCompute | None) -> Fact[Import]:
    if compute is None or compute.elsewhere:
        return Fact()
    return readers.fact(lambda: nova_compute.try_import(of, compute))


def _nova_files(
    of: Source, conf: Sequence[str], compute: NovaCompute | None
) -> Mapping[str, Fact[bytes]]:
    """Return what is kept of each file, by path, in the order of reading."""

    def named() -> bytes:
        return json.dumps(_conf_files(conf, compute)).encode()

    listed = readers.fact(lambda: decoded(of.read("asked/nova/files", named)))
    paths = (path for path in listed.value or () if isinstance(path, str))
    return {path: _nova_file(of, path, named_here=bool(conf)) for path in paths}


def _conf_files(conf: Sequence[str], compute: NovaCompute | None) -> list[str]:
    arguments = compute.arguments if compute and not compute.elsewhere else ()
    return list(conf) or nova_compute.configuration(arguments)


def _nova_file(of: Source, path: str, *, named_here: bool) -> Fact[bytes]:
    """Read a file of nova.conf.

    :param named_here: true if the user of the doctor named the file: then any owner is
        accepted.
    """

    def read() -> bytes:
        owners = None if named_here else ownership.believed()
        return nova_conf.sift(files.read_owned(path, owners))

    return readers.fact(lambda: of.read(f"asked/nova{path}", read))


def _facts(
    of: Source,
    questions: Questions,
    options: Mapping[tuple[str, str], nova_conf.Option],
) -> HostFacts:
    option = options.get(("libvirt", "virt_type"))
    asked = (option and option.value) or "kvm"
    processor = readers.processor(of).value
    machine = readers.text(
        of, "asked/kernel/machine", lambda: platform.machine().encode()
    )
    facts = reader.read_facts(
        of,
        RecordedLibvirt(of, questions),
        # Another one has a check of its own. The host is judged all the same.
        asked if asked in VIRT_TYPES else "kvm",
        machine or "x86_64",
        processor.vendor_title if processor else "",
    )
    es_guests = options.get(("sev", "num_sev_es_guests"))
    trusted = bool(es_guests and (es_guests.value or "0").strip("0"))
    return dataclasses.replace(facts, es_beside_snp=trusted)


@dataclasses.dataclass(frozen=True)
class RecordedLibvirt:
    """libvirt as the reader asks it, through a source that may be a record."""

    source: Source
    questions: Questions

    def domain_capabilities(self, virt_type: str) -> DomainCapabilities:
        xml = self.source.read(
            f"asked/libvirt/domain-capabilities-{virt_type}.xml",
            lambda: self.questions.domain_capabilities(virt_type),
        )
        return DomainCapabilities.parse(xml)

    def versions(self) -> tuple[Version | None, Version | None]:
        try:
            text = self.source.read("asked/libvirt/versions", self.questions.versions)
            found = decoded(text)
        except (OSError, DetectionError):
            return None, None
        libvirt, qemu = (_version(each) for each in [*found, None, None][:2])
        return libvirt, qemu


def _version(numbers: object) -> Version | None:
    if not isinstance(numbers, list) or [type(n) for n in numbers] != [int] * 3:
        return None
    return numbers[0], numbers[1], numbers[2]


def _descriptors(of: Source) -> tuple[Descriptor, ...]:
    folders, _ = firmware_dirs.read_files(firmware_dirs.FOLDERS, of)
    found = []
    for path, data in firmware.paths_in_force(folders).items():
        try:
            parsed = firmware.FirmwareDescriptor.parse(data)
        except MalformedFirmware as error:
            found.append(Descriptor(path, None, str(error)))
            continue
        descriptor = Descriptor(path, parsed, file=_file(of, parsed.filename))
        if any(map(parsed.fits, MemoryEncryptionModel)):
            contents = _contents(of, parsed.filename)
            descriptor = dataclasses.replace(descriptor, contents=contents)
        found.append(descriptor)
    return tuple(found)


def _contents(of: Source, path: str) -> Fact[FirmwareContents]:
    return readers.fact(lambda: readers.firmware_contents(of, path))


def _file(of: Source, path: str) -> Fact[Status]:
    return readers.fact(lambda: files.status(of, path))
