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
"""Every message stands in the manual, in the words that the code uses."""

import dataclasses
import enum
import pathlib
import re
import tempfile
from collections.abc import Iterator

import log_messages
import pytest
from host_facts import EVERYTHING, VIEW, parameter, parameters
from oslo_config import cfg

from sev_driver import (
    announcement,
    conf,
    domain_xml,
    forbidden_devices,
    inventory,
    lifecycle,
    pools,
    releases,
    selection,
    slot_messages,
    textfile,
)
from sev_driver.capabilities import HostCapabilities, ModelCapability, Obstacle
from sev_driver.detection import conclude
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.exceptions import (
    ConfigurationError,
    DomainXMLError,
    EncryptionLost,
    OperationNotSupported,
)
from sev_driver.facts import SevDevice, Versions
from sev_driver.firmware import FirmwareView
from sev_driver.kvm import VmTypes
from sev_driver.memory import HostMemory
from sev_driver.model import MemoryEncryptionModel
from sev_driver.policies import Policies
from sev_driver.policy import SevPolicy
from sev_driver.requirements import GuestRequest, Requirement, Setting, check
from sev_driver.selection import ModelAsk

MANUAL = pathlib.Path(__file__).parents[2] / "doc/source/admin/messages.rst"
SEV = MemoryEncryptionModel.AMD_SEV
ES = ModelAsk("amd-sev-es", "flavor m1.sev", "sev:model=amd-sev-es")
SNP = ModelAsk("amd-sev-snp", "flavor m1.sev", "trait:SNP=required")
WRONG = ModelAsk("sev-es", "flavor m1.sev", "sev:model=sev-es")
ON = ModelCapability(SEV, slots=15, slots_source="libvirt")
GOOD = GuestRequest(SEV, ("hw:mem_encryption of flavor m1.sev",), firmware_type="uefi")
SEV_ES, SEV_SNP = MemoryEncryptionModel.AMD_SEV_ES, MemoryEncryptionModel.AMD_SEV_SNP

#: For each requirement, requests that miss it.
REQUESTS: dict[Requirement, list[dict[str, object]]] = {
    Requirement.AGREEMENT: [
        {"conflict": "hw_mem_encryption of image 1 denies it"},
        {"conflict": selection.select([ES, SNP]).conflict},
        {"conflict": selection.select([WRONG]).conflict},
    ],
    Requirement.FIRMWARE_STATELESS: [{"model": MemoryEncryptionModel.AMD_SEV_SNP}],
    Requirement.MACHINE_TYPE: [{"machine_type": Setting("pc", "hw_machine_type")}],
    Requirement.FIRMWARE_TYPE: [{"firmware_type": None}],
    Requirement.NO_HOST_DEVICE: [{"passthrough": (Setting("gpu:1", "the alias"),)}],
    Requirement.BOOT_BUS: [
        {"disk_bus": Setting("usb", "hw_disk_bus")},
        {"disk_bus": Setting("scsi", "hw_disk_bus")},
    ],
}
DEVICES: dict[Requirement, list[str]] = {
    Requirement.NO_HOST_DEVICE: [
        "<hostdev type='mdev'/>",
        "<hostdev type='pci'/>",
        "<interface type='hostdev'><mac address='fa:16:3e:00:00:01'/></interface>",
    ],
    Requirement.BOOT_BUS: ["<disk><target dev='sda' bus='usb'/></disk>"],
    Requirement.NO_IDE: ["<disk><target dev='hda' bus='ide'/></disk>"],
}
SLOTS: dict[Requirement, dict[str, dict[str, dict[str, int]]]] = {
    Requirement.SLOT: {"node1": {"resources": {"VCPU": 1}}},
    Requirement.POOL: {
        "node1_amd_sev_es": {"resources": {pools.SLOT: 1}},
    },
}
UNREADABLE = dataclasses.replace(
    parameters(sev_es=None), sev=parameter(error="Permission denied")
)
OLD = DomainCapabilities(True, 410, 99)
SNP_UNLISTED = dataclasses.replace(OLD, sectypes=frozenset({"sev"}))
WITH_SNP = dataclasses.replace(OLD, sectypes=frozenset({"sev", "sev-snp"}))
NO_GROUPS: dict[str, object] = {"misc_capacity": {}}

#: For each obstacle, a model and changes to a host that has everything.
HOSTS: dict[Obstacle, list[tuple[MemoryEncryptionModel, dict[str, object]]]] = {
    Obstacle.VIRT_TYPE: [(SEV, {"virt_type": "lxc"})],
    Obstacle.ARCH: [
        (SEV, {"arch": "aarch64"}),
        (SEV, {"parameters": parameters(sev=None), "vendor": "Intel"}),
    ],
    Obstacle.PARAMETER_UNREADABLE: [(SEV, {"parameters": UNREADABLE})],
    Obstacle.PARAMETER_MISSING: [
        (SEV, {"parameters": parameters(sev=None)}),
        (SEV_ES, {"parameters": parameters(sev_es=None)}),
        (SEV_SNP, {"parameters": parameters(sev_snp=None)}),
    ],
    Obstacle.PARAMETER_OFF: [
        (SEV, {"parameters": parameters(sev="N")}),
        (SEV_ES, {"parameters": parameters(sev_es="N")}),
        (SEV_SNP, {"parameters": parameters(sev_snp="0")}),
    ],
    Obstacle.DEVICE_MISSING: [(SEV, {"device": SevDevice(present=False)})],
    Obstacle.CAPABILITIES_UNREADABLE: [(SEV, {"domain": None, "domain_error": "x"})],
    Obstacle.LIBVIRT_SAYS_NO: [
        (SEV, {"domain": DomainCapabilities(False)}),
        (SEV, {"domain": DomainCapabilities(False), "device": SevDevice()}),
    ],
    Obstacle.BESIDE_SNP: [
        (SEV_ES, {"vm_types": VmTypes(0b10101)}),
        (SEV_ES, {"vm_types": None}),
    ],
    Obstacle.VERSION_TOO_OLD: [
        (
            SEV_ES,
            {
                "parameters": parameters(sev_snp="N"),
                "versions": Versions(qemu=(5, 2, 0)),
            },
        ),
        (SEV_SNP, {"domain": OLD, "versions": Versions((9, 0, 0), (7, 2, 22))}),
    ],
    Obstacle.TYPE_MISSING: [(SEV_SNP, {"domain": SNP_UNLISTED})],
    Obstacle.SLOTS_UNREADABLE: [
        (SEV, {"domain": DomainCapabilities(True, 0, 0), "cpuid": None} | NO_GROUPS)
    ],
    Obstacle.NO_SLOTS: [
        (SEV, {"domain": DomainCapabilities(True, 0, 99)}),
        (SEV_SNP, {"domain": dataclasses.replace(WITH_SNP, max_es_guests=0)}),
        (SEV_ES, {"parameters": parameters(ciphertext_hiding_asids="99")}),
    ],
    Obstacle.KVM_SAYS_NO: [(SEV, {"vm_types": VmTypes(0b11001)})],
    Obstacle.NO_FIRMWARE: [(SEV_SNP, {"firmware": FirmwareView(VIEW.folders, ())})],
}
WRONG_POLICIES = [
    *(("sev_policy", text) for text in ("0x73", "0x333333333", "0xx", "NOSUCH")),
    ("snp_policy", "0x10000"),
]
RULED_OUT = [
    operation
    for (operation, model), ruling in lifecycle.RULINGS.items()
    if model is SEV and not ruling.allowed
]


def label(name: enum.Enum | str) -> str:
    text = name if isinstance(name, str) else str(name.value)
    return text.lower().replace(" ", "-")


def announced(
    capability: ModelCapability, cap: int | None = None, ratio: float = 1.0
) -> list[str]:
    ram = HostMemory(1, 1, ratio)
    host = {capability.model: capability}
    return [text for _, text in announcement.lines(host, {SEV: cap}, ram)]


def refused_policy(option: str, text: str) -> str:
    """Return what nova-compute ends with where nova.conf has such a policy."""
    options = cfg.ConfigOpts()
    conf.register_opts(options)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"[sev]\n{option} = {text}\n")
        file.flush()
        options(["--config-file", file.name])
        with pytest.raises(ConfigurationError) as refusal:
            conf.policies(options)
    return str(refusal.value)


def examples() -> Iterator[tuple[str, str]]:
    """Yield label and text of each message, made by the code itself."""
    for requirement, changes in REQUESTS.items():
        for change in changes:
            request = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]
            (violation,) = check(request, {SEV: ON})
            yield label(requirement), str(violation)
    for requirement, devices in DEVICES.items():
        for device in devices:
            xml = f"<domain><devices>{device}</devices></domain>"
            (violation,) = forbidden_devices.check(GOOD, domain_xml.parse(xml))
            assert violation.requirement is requirement
            yield label(requirement), str(violation)
    for requirement, allocations in SLOTS.items():
        (violation,) = pools.check(GOOD, allocations, lambda uuid: uuid)
        assert violation.requirement is requirement
        yield label(requirement), str(violation)
    for obstacle, hosts in HOSTS.items():
        for model, change in hosts:
            facts = dataclasses.replace(EVERYTHING, **change)  # type: ignore[arg-type]
            capability = conclude(facts)[model]
            assert capability.obstacle is obstacle
            (line,) = announced(capability)
            yield label(obstacle), line
            request = dataclasses.replace(GOOD, model=model)
            (*_, violation) = check(request, {model: capability})
            yield label(Requirement.HOST), str(violation)
    for operation in RULED_OUT:
        with pytest.raises(OperationNotSupported) as refused:
            lifecycle.require(operation, SEV)
        yield label(operation), str(refused.value)
    yield "encryption-lost", str(EncryptionLost("instance-1", SEV, "no launchSecurity"))
    with pytest.raises(DomainXMLError) as unreadable:
        domain_xml.parse("<")
    yield "domain-xml", str(unreadable.value)
    yield "cap-above", announced(ON, cap=16)[1]
    shared = HostCapabilities(
        tuple(ModelCapability(model, slots=5) for model in (SEV_ES, SEV_SNP)), 5
    )
    split = inventory.offers(shared, {SEV_ES: 4, SEV_SNP: 4})[SEV_SNP]
    yield "shared-slots", str(split.warning)
    yield "stranger", slot_messages.stranger("1")
    yield "allocation-lost", slot_messages.allocation_lost("1")
    yield "kernel-counts", slot_messages.unseen(1, 2)
    yield "unread-domain", slot_messages.unread_domain("1", DomainXMLError("x"))
    yield "slots-on-root", slot_messages.held_beside_root(SEV_ES)
    yield "textfile-library", textfile.no_library("/a.prom")
    yield "textfile-name", str(textfile.misnamed("/a.txt"))
    yield "textfile-not-written", textfile.not_written("/a.prom", OSError("no"))
    yield "overcommit", announced(ON, ratio=1.5)[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(releases, "nova_release", lambda: releases.OLDEST_NOVA - 1)
        with pytest.raises(ConfigurationError) as old:
            releases.check_nova()
    yield "nova-too-old", str(old.value)
    yield from log_messages.examples()
    yield from (("policy-value", refused_policy(*each)) for each in WRONG_POLICIES)
    for policy, text in (("policy-generation", 0x37), ("policy-debug", 0x32)):
        with pytest.raises(ConfigurationError) as refusal:
            Policies(sev=SevPolicy(text))
        yield policy, str(refusal.value)


def manual() -> dict[str, list[re.Pattern[str]]]:
    """Return the messages of the manual by label, ``<...>`` for anything."""
    found: dict[str, list[re.Pattern[str]]] = {}
    patterns: list[re.Pattern[str]] = []
    literal = False
    for line in MANUAL.read_text().splitlines():
        if match := re.fullmatch(r"\.\. _message-(.*):", line):
            patterns = found.setdefault(match[1], [])
        elif line.startswith("    ") and not found:
            raise AssertionError(f"no label before {line}")
        elif line.startswith("    ") and literal:
            parts = re.split(r"<[^>]*>", line.strip())
            patterns.append(re.compile(".+".join(map(re.escape, parts))))
        elif line:
            literal = line.endswith("::")
    return found


EXAMPLES = list(examples())


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_the_message_stands_in_the_manual(name: str, text: str) -> None:
    patterns = manual().get(name)
    assert patterns, f"messages.rst has no message-{name}"
    assert any(pattern.fullmatch(text) for pattern in patterns), text


@pytest.mark.parametrize("name", manual())
def test_the_manual_has_no_message_of_the_past(name: str) -> None:
    texts = [text for label_, text in EXAMPLES if label_ == name]
    for pattern in manual()[name]:
        assert any(pattern.fullmatch(text) for text in texts), pattern.pattern


def test_what_the_log_warns_of_stands_in_the_manual() -> None:
    page = " ".join(MANUAL.read_text().split())
    examples = {text for _, text in EXAMPLES}
    for text in log_messages.warnings():
        told = text in examples or f"``{text.removesuffix(' x')}``" in page
        assert told, text


def test_no_kind_of_message_is_without_an_example() -> None:
    kinds = {label(kind) for kind in (*Requirement, *Obstacle, *RULED_OUT)}
    assert kinds <= {name for name, _ in EXAMPLES}
