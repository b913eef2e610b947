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
"""Gathers all that the doctor goes by, each fact by the driver's own reader."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence

from sev_driver import files, firmware, firmware_folders, kernel
from sev_driver.doctor import nova_compute, nova_conf, reading, running_domains, texts
from sev_driver.doctor.evidence import Descriptor, Evidence, Fact, Import, NovaCompute
from sev_driver.doctor.libvirt_questions import Questions
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.exceptions import DetectionError, MalformedFirmware
from sev_driver.facts import HostFacts, Version, Versions
from sev_driver.source import Source, Status, decoded

#: The processor's own words, and libvirt's.
_VENDORS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel", "HygonGenuine": "Hygon"}


def gather(of: Source, questions: Questions, conf: Sequence[str] = ()) -> Evidence:
    """Return what ``of`` shows.

    :param questions: to libvirt.
    :param conf: of nova.conf; by default those that the nova-compute that runs was
        told of, or those of a usual installation.
    """
    compute = reading.fact(lambda: nova_compute.find(of))
    nova_files = _nova_files(of, conf, compute.value)
    options = nova_conf.in_force(
        option
        for path, kept in nova_files.items()
        for option in nova_conf.parse(path, kept.value or b"")
    )
    return Evidence(
        _facts(of, questions, options),
        read_as=reading.text(of, "asked/reader", reading.reader),
        processor=reading.processor(of),
        command_line=reading.fact(lambda: reading.command_line(of)),
        iommu=reading.fact(lambda: reading.iommu(of)),
        secure_processor=reading.fact(lambda: reading.secure_processor(of)),
        kernel_log=reading.fact(lambda: reading.kernel_log(of)),
        modules=reading.fact(lambda: frozenset(files.names(of, "/sys/module"))),
        kvm_device=reading.fact(lambda: files.status(of, str(kernel.DEVICES / "kvm"))),
        sev_opening=reading.fact(lambda: reading.sev_opening(of)),
        sev_device=reading.fact(lambda: files.status(of, str(kernel.DEVICES / "sev"))),
        misc_current=kernel.read_misc_current(of),
        daemon=reading.fact(lambda: reading.daemon(of)),
        apparmor=reading.file(of, "/sys/module/apparmor/parameters/enabled", str.strip),
        selinux=reading.file(of, "/sys/fs/selinux/enforce", str.strip),
        qemu_conf=reading.fact(lambda: reading.qemu_conf(of)),
        libvirt=reading.fact(
            lambda: of.ask("asked/libvirt/uri", questions.reach).decode(
                "utf-8", "replace"
            )
        ),
        domains=reading.fact(
            lambda: running_domains.parse(
                of.ask("asked/libvirt/domains.xml", questions.domains)
            )
        ),
        descriptors=_descriptors(of),
        nova_compute=compute,
        driver_import=_import(of, compute.value),
        nova_files=nova_files,
        options=options,
        memory=reading.file(of, "/proc/meminfo", texts.memory),
    )


def _import(of: Source, compute: NovaCompute | None) -> Fact[Import]:
    if compute is None or compute.elsewhere:
        return Fact()
    return reading.fact(lambda: nova_compute.try_import(of, compute))


def _nova_files(
    of: Source, conf: Sequence[str], compute: NovaCompute | None
) -> Mapping[str, Fact[bytes]]:
    """Return what is kept of each file, by path, in the order of reading."""

    def named() -> bytes:
        return json.dumps(_conf_files(conf, compute)).encode()

    listed = reading.fact(lambda: decoded(of.ask("asked/nova/files", named)))
    paths = (path for path in listed.value or () if isinstance(path, str))
    return {path: _nova_file(of, path) for path in paths}


def _conf_files(conf: Sequence[str], compute: NovaCompute | None) -> list[str]:
    arguments = compute.arguments if compute and not compute.elsewhere else ()
    return list(conf) or nova_compute.configuration(arguments)


def _nova_file(of: Source, path: str) -> Fact[bytes]:
    def read() -> bytes:
        with open(path, "rb") as file:
            return nova_conf.sift(file.read(files.FILE_BYTES))

    return reading.fact(lambda: of.ask(f"asked/nova{path}", read))


def _facts(
    of: Source,
    questions: Questions,
    options: Mapping[tuple[str, str], nova_conf.Option],
) -> HostFacts:
    option = options.get(("libvirt", "virt_type"))
    virt_type = (option and option.value) or "kvm"
    # What libvirt says of another kind of guest would tell nothing of SEV.
    asked = virt_type if virt_type in ("kvm", "qemu") else "kvm"
    domain, domain_error = None, None
    try:
        xml = of.ask(
            f"asked/libvirt/domain-capabilities-{asked}.xml",
            lambda: questions.domain_capabilities(asked),
        )
        domain = DomainCapabilities.parse(xml)
    except (OSError, DetectionError) as error:
        domain_error = str(error)
    processor = reading.processor(of).value
    vendor = processor.vendor if processor else ""
    machine = reading.text(
        of, "asked/kernel/machine", lambda: platform.machine().encode()
    )
    es_guests = options.get(("sev", "num_sev_es_guests"))
    return HostFacts(
        virt_type,
        machine or "x86_64",
        kernel.read_kvm_parameters(of),
        domain,
        domain_error,
        vendor=_VENDORS.get(vendor, vendor),
        device=kernel.read_sev_device(of),
        cpuid=kernel.read_cpuid(of),
        misc_capacity=kernel.read_misc_capacity(of),
        vm_types=kernel.read_vm_types(of),
        versions=_versions(of, questions),
        firmware=firmware_folders.read(of=of),
        es_beside_snp=bool(es_guests and (es_guests.value or "0").strip("0")),
    )


def _versions(of: Source, questions: Questions) -> Versions:
    kernel_version = kernel.read_kernel_version(of)
    try:
        found = decoded(of.ask("asked/libvirt/versions", questions.versions))
    except (OSError, DetectionError):
        return Versions(kernel=kernel_version)
    libvirt, qemu = (_version(each) for each in [*found, None, None][:2])
    return Versions(libvirt, qemu, kernel_version)


def _version(numbers: object) -> Version | None:
    if not isinstance(numbers, list) or [type(n) for n in numbers] != [int] * 3:
        return None
    return numbers[0], numbers[1], numbers[2]


def _descriptors(of: Source) -> tuple[Descriptor, ...]:
    contents, _ = firmware_folders.read_files(firmware_folders.FOLDERS, of)
    found = []
    for path, data in firmware.paths_in_force(contents).items():
        try:
            parsed = firmware.FirmwareDescriptor.parse(data)
            found.append(Descriptor(path, parsed, file=_file(of, parsed.filename)))
        except MalformedFirmware as error:
            found.append(Descriptor(path, None, str(error)))
    return tuple(found)


def _file(of: Source, path: str) -> Fact[Status]:
    return reading.fact(lambda: files.status(of, path))
