# SPDX-License-Identifier: Apache-2.0

"""sev-capabilities: what the driver would detect on another host.

All facts come from files and arguments, none from the machine it runs on. It needs
neither Nova nor libvirt. The driver's own code decides.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sev_driver.cmd import output

PROGRAM = "sev-capabilities"

with output.required_modules(PROGRAM):
    from sev_driver.exceptions import DetectionError, MalformedCapabilities
    from sev_driver.host import firmware_dirs
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
        parse_misc,
        parse_version,
    )

_PARAMETERS = ("sev", "sev_es", "sev_snp", "ciphertext_hiding_asids")
_FOLDER = "/sys/module/kvm_amd/parameters"

#: Far above any such file; what is longer is refused as what it is not.
_FILE_BYTES = 16 * 1024 * 1024

_DEVICE = {"yes": True, "no": False, "unknown": None}

_DESCRIPTION = """\
Say what sev_driver detects on a host, from files that were saved there. What is not
given counts as unknown, as for a nova-compute that cannot read it.
"""

_EPILOG = """\
On the host:
  virsh domcapabilities --virttype kvm --machine q35 > domcaps.xml
  grep . /sys/module/kvm_amd/parameters/sev*
  cpuid -1 -r -l 0x8000001f > cpuid.txt
  cp /sys/fs/cgroup/misc.capacity misc.txt

Here:
  %(prog)s --domain-capabilities domcaps.xml --kvm-parameter sev=Y \\
      --kvm-parameter sev_es=N --cpuid cpuid.txt --misc-capacity misc.txt

Exit status: 0 if there is a result, whatever it is; 2 if an argument or a file is
wrong.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        facts = gather(options)
    except (DetectionError, OSError, ValueError) as error:
        _refuse(parser, error)
    output.say(PROGRAM, json.dumps(as_json(detect(facts)), indent=2) + "\n")
    return 0


def _refuse(parser: argparse.ArgumentParser, error: Exception) -> NoReturn:
    if isinstance(error, OSError) and error.filename is not None:
        parser.error(f"{error.filename} cannot be read: {error.strerror}")
    parser.error(str(error))


def gather(options: argparse.Namespace) -> HostFacts:
    """Return the facts that the arguments state.

    :raises OSError: a file cannot be read.
    :raises DetectionError: a file is not what it should be.
    """
    domain, domain_error = None, None
    try:
        domain = DomainCapabilities.parse(_read(options.domain_capabilities))
    except MalformedCapabilities as error:
        # The driver meets this, too, and has a conclusion.
        domain_error = str(error)
    folders = [pathlib.Path(folder) for folder in options.firmware_descriptors]
    for folder in folders:
        list(folder.iterdir())  # an operator's typing error is not an empty folder
    misc = options.misc_capacity
    return HostFacts(
        options.virt_type,
        options.arch,
        _parameters(options),
        domain,
        domain_error,
        vendor=options.vendor,
        device=SevDevice(_DEVICE[options.dev_sev]),
        cpuid=options.cpuid and MemoryEncryptionLeaf.from_file(_read(options.cpuid)),
        misc_capacity=parse_misc(_read(misc).decode("ascii", "replace"))
        if misc
        else {},
        vm_types=None if options.vm_types is None else VmTypes(options.vm_types),
        versions=Versions(
            options.libvirt_version, options.qemu_version, options.kernel_version
        ),
        firmware=firmware_dirs.read(folders) if folders else None,
        es_beside_snp=options.es_beside_snp,
    )


def as_json(host: HostCapabilities) -> dict[str, Any]:
    """Return what is printed."""
    return {
        "models": {
            model.value: {
                "supported": capability.support.value,
                "obstacle": capability.obstacle and capability.obstacle.value,
                "reason": capability.reason or None,
                "remedy": capability.remedy or None,
                "slots": capability.slots,
                "source": capability.slots_source or None,
            }
            for model, capability in host.items()
        },
        "shared_slots": host.shared_slots,
    }


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read(_FILE_BYTES)
    with open(path, "rb") as file:
        return file.read(_FILE_BYTES)


def _parameters(options: argparse.Namespace) -> KvmParameters:
    texts = dict(options.kvm_parameter)
    if options.ciphertext_hiding is not None:
        texts["ciphertext_hiding_asids"] = str(options.ciphertext_hiding)
    return KvmParameters(**{name: _parameter(name, texts) for name in _PARAMETERS})


def _parameter(name: str, texts: dict[str, str]) -> KvmParameter:
    path = f"{_FOLDER}/{name}"
    if name not in texts:
        return KvmParameter(path, error=f"no --kvm-parameter {name}=... was given")
    if texts[name] == "missing":
        return KvmParameter(path)
    return KvmParameter(path, texts[name])


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in _PARAMETERS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=VALUE with one of {', '.join(_PARAMETERS)}"
        )
    return name, value


def _version(text: str) -> Version:
    version = parse_version(text)
    if version is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no version such as 10.5.0")
    return version


def _number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number such as 29 or 0x1d")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = output.new_parser(PROGRAM, _DESCRIPTION, _EPILOG, allow_abbrev=True)
    add = parser.add_argument
    add(
        "--domain-capabilities",
        metavar="FILE",
        required=True,
        help="what virsh domcapabilities prints; - for the standard input",
    )
    add(
        "--kvm-parameter",
        metavar="NAME=VALUE",
        type=_name_and_value,
        action="append",
        default=[],
        help=f"one of {_FOLDER}: {', '.join(_PARAMETERS)}; NAME=missing where there "
        "is no such file",
    )
    add(
        "--ciphertext-hiding",
        metavar="N",
        type=_number,
        help="the same as --kvm-parameter ciphertext_hiding_asids=N",
    )
    add("--cpuid", metavar="FILE", help="the text of cpuid -1, or the leaf's 16 bytes")
    add("--misc-capacity", metavar="FILE", help="the file of the root control group")
    add("--vm-types", metavar="BITS", type=_number, help="KVM_CAP_VM_TYPES's answer")
    add(
        "--firmware-descriptors",
        metavar="DIR",
        action="append",
        default=[],
        help="a copy of a folder of descriptors; repeat it, /etc's last",
    )
    add("--dev-sev", choices=_DEVICE, default="unknown", help="is there a /dev/sev?")
    for program in ("libvirt", "qemu", "kernel"):
        add(f"--{program}-version", metavar="VERSION", type=_version)
    add("--virt-type", metavar="TYPE", default="kvm", help="[libvirt] virt_type (kvm)")
    add("--arch", default="x86_64", help="the processor's (x86_64)")
    add("--vendor", default="", help="the processor's, as in virsh capabilities")
    add(
        "--es-beside-snp",
        action="store_true",
        help="[sev] num_sev_es_guests is above 0",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
