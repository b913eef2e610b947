# SPDX-License-Identifier: Apache-2.0
"""Every message stands in the manual, in the words that the code uses."""

import base64
import dataclasses
import enum
import pathlib
import re
import tempfile
import zlib
from collections.abc import Iterator

import log_messages
import owners_keys
import pytest
from host_facts import EVERYTHING, OVMF, VIEW, judged, parameter, parameters
from nova import objects
from oslo_config import cfg

from sev_driver.compute import (
    build_warnings,
    doors,
    lost_allocations,
    next_launch,
    nova_compat,
    unmanaged_guests,
    verdict,
)
from sev_driver.compute.verdict import NextLaunch
from sev_driver.conf import opts
from sev_driver.conf import policy as policy_options
from sev_driver.domain import forbidden_devices
from sev_driver.domain import xml as domain_xml
from sev_driver.domain.launch_security import Policies
from sev_driver.domain.launched_domain import LaunchedDomain
from sev_driver.exceptions import (
    ConfigurationError,
    DomainXMLError,
    EncryptionLost,
    OperationNotSupported,
    PolicyTooWeak,
    Requirement,
)
from sev_driver.guest import launch_inputs, model_selection, near_misses, operations
from sev_driver.guest.input_keys import Owner
from sev_driver.guest.launch_inputs import SignedBlock
from sev_driver.guest.model_selection import ModelRequest
from sev_driver.guest.policy import SevPolicy
from sev_driver.guest.requirements import (
    ForeignRequest,
    GuestRequest,
    Setting,
    check_foreign,
    check_image_model,
    check_request,
    check_rescue_image,
    check_spelling,
    check_vhost_user,
    lost_request,
)
from sev_driver.host.capabilities import HostCapabilities, ModelCapability, ObstacleKind
from sev_driver.host.detection import detect
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import Iommu, SevDevice, SystemFacts, Versions, VmTypes
from sev_driver.host.firmware import FirmwareView
from sev_driver.host.memory import HostMemory
from sev_driver.host.processor import Processor, Topology
from sev_driver.model import ForeignModel, MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease
from sev_driver.observability import host_report, textfile
from sev_driver.placement import allocations as allocations_module
from sev_driver.placement import inventory, provider_plan

MANUAL = pathlib.Path(__file__).parents[2] / "doc/source/admin/messages.rst"
SEV = MemoryEncryptionModel.AMD_SEV
ES = ModelRequest("amd-sev-es", "flavor m1.sev", "sev:model=amd-sev-es")
SNP = ModelRequest("amd-sev-snp", "flavor m1.sev", "trait:SNP=required")
WRONG = ModelRequest("sev-es", "flavor m1.sev", "sev:model=sev-es")
ON = ModelCapability(SEV, slots=15, slots_source="libvirt")
GOOD = GuestRequest(SEV, ("hw:mem_encryption of flavor m1.sev",), firmware_type="uefi")
SEV_ES, SEV_SNP = MemoryEncryptionModel.AMD_SEV_ES, MemoryEncryptionModel.AMD_SEV_SNP

#: For each requirement, requests that miss it.
REQUESTS: dict[Requirement, list[dict[str, object]]] = {
    Requirement.AGREEMENT: [
        {"conflict": "hw_mem_encryption of image 1 denies it"},
        {"conflict": model_selection.select([ES, SNP]).conflict},
        {
            "conflict": model_selection.select([WRONG]).conflict,
            "conflict_remedy": model_selection.select([WRONG]).remedy,
        },
    ],
    Requirement.FIRMWARE_STATELESS: [{"model": MemoryEncryptionModel.AMD_SEV_SNP}],
    Requirement.SECURE_BOOT: [
        {"model": SEV_ES, "secure_boot": Setting("required", "os_secure_boot")},
    ],
    Requirement.NO_VIOMMU: [{"viommu": Setting("auto", "hw_viommu_model")}],
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
    Requirement.NO_SHARE: ["<filesystem type='mount'/>"],
    Requirement.NO_IDE: ["<disk><target dev='hda' bus='ide'/></disk>"],
}
SLOTS: dict[Requirement, dict[str, dict[str, dict[str, int]]]] = {
    Requirement.SLOT: {"node1": {"resources": {"VCPU": 1}}},
    Requirement.POOL: {
        "node1_amd_sev_es": {"resources": {allocations_module.SLOT: 1}},
    },
}
UNREADABLE = dataclasses.replace(
    parameters(sev_es=None), sev=parameter(error="Permission denied")
)
OLD = DomainCapabilities(True, 410, 99)
SNP_UNLISTED = dataclasses.replace(OLD, sectypes=frozenset({"sev"}))
WITH_SNP = dataclasses.replace(OLD, sectypes=frozenset({"sev", "sev-snp"}))
NO_GROUPS: dict[str, object] = {"misc_capacity": {}}


def system(
    others: dict[str, object] | None = None, **changes: object
) -> dict[str, object]:
    """Return changes to a host of which the system shows ``changes``."""
    known = SystemFacts(**changes)  # type: ignore[arg-type]
    return {**(others or {}), "system": known}


MISSING: dict[str, object] = {"parameters": parameters(sev=None)}
ALL_OFF: dict[str, object] = {
    "parameters": parameters(sev="N", sev_es="N", sev_snp="N")
}
SNP_OFF: dict[str, object] = {"parameters": parameters(sev_snp="N")}
SNP_MISSING: dict[str, object] = {"parameters": parameters(sev_snp=None)}
NO_DEVICE: dict[str, object] = {"device": SevDevice(present=False)}
OLD_KERNEL: dict[str, object] = {"versions": Versions(kernel=(4, 15, 0))}
MILAN = Processor("AuthenticAMD", 0x19, 1, "AMD EPYC 7543", frozenset({"sme", "sev"}))
ROME = dataclasses.replace(MILAN, family=0x17, model=0x31, name="AMD EPYC 7702")
RYZEN = dataclasses.replace(MILAN, name="AMD Ryzen 9 5950X")
UNFLAGGED = dataclasses.replace(MILAN, flags=frozenset({"svm"}))
VIRTUAL = dataclasses.replace(MILAN, flags=frozenset({"hypervisor"}))
DEAD_PSP = "ccp 0000:42:00.1: SEV: failed to INIT error 0x1, rc -5"

#: For each obstacle, a model and changes to a host that has everything.
HOSTS: dict[ObstacleKind, list[tuple[MemoryEncryptionModel, dict[str, object]]]] = {
    ObstacleKind.VIRT_TYPE: [(SEV, {"virt_type": "lxc"})],
    ObstacleKind.ARCH: [
        (SEV, {"arch": "aarch64"}),
        (SEV, {"parameters": parameters(sev=None), "vendor": "Intel"}),
    ],
    ObstacleKind.VIRTUAL_MACHINE: [(SEV, system(MISSING, processor=VIRTUAL))],
    ObstacleKind.NOT_EPYC: [(SEV, system(NO_DEVICE, processor=RYZEN))],
    ObstacleKind.PROCESSOR_WITHOUT_SNP: [
        (SEV_SNP, system(SNP_MISSING, processor=ROME))
    ],
    ObstacleKind.SME_OFF: [(SEV, system(ALL_OFF, processor=UNFLAGGED))],
    ObstacleKind.SECURE_PROCESSOR_FAILED: [(SEV, system(kernel_log=(DEAD_PSP,)))],
    ObstacleKind.SEV_FIRMWARE_TOO_OLD: [
        (SEV_SNP, system(kernel_log=("ccp 0000:42:00.1: SEV API:1.50 build:3",)))
    ],
    ObstacleKind.IOMMU_MODE: [
        (SEV_SNP, system(SNP_OFF, command_line="iommu=pt")),
        (
            SEV_SNP,
            system(
                SNP_OFF,
                kernel_log=(
                    "AMD-Vi: SNP: IOMMU disabled or configured "
                    "in passthrough mode, SNP cannot be supported.",
                ),
            ),
        ),
        (SEV_SNP, system(SNP_OFF, iommu=Iommu(1, 9, frozenset({"identity"})))),
    ],
    ObstacleKind.IOMMU_OFF: [
        (SEV_SNP, system(SNP_OFF, iommu=Iommu(0, 0, frozenset())))
    ],
    ObstacleKind.SNP_OFF: [
        (
            SEV_SNP,
            system(
                SNP_OFF,
                kernel_log=(
                    "SEV-SNP: Memory for the RMP table has not been reserved by BIOS",
                ),
            ),
        ),
        (SEV_SNP, system(SNP_OFF, processor=MILAN)),
    ],
    ObstacleKind.KERNEL_WITHOUT_SEV: [
        (SEV, system(MISSING, modules=frozenset({"kvm_amd"})))
    ],
    ObstacleKind.SWITCHED_OFF: [(SEV, system(ALL_OFF, command_line="kvm_amd.npt=0"))],
    ObstacleKind.PARAMETER_UNREADABLE: [(SEV, {"parameters": UNREADABLE})],
    ObstacleKind.PARAMETER_MISSING: [
        (SEV, {"parameters": parameters(sev=None)}),
        (SEV_ES, {"parameters": parameters(sev_es=None)}),
        (SEV_SNP, {"parameters": parameters(sev_snp=None)}),
        (SEV, system(MISSING | OLD_KERNEL)),
        (SEV, system(MISSING, modules=frozenset())),
    ],
    ObstacleKind.PARAMETER_OFF: [
        (SEV, {"parameters": parameters(sev="N")}),
        (SEV, system(ALL_OFF, kernel_log=("SEV: TMR allocation failed",))),
        (SEV_ES, {"parameters": parameters(sev_es="N")}),
        (SEV_SNP, {"parameters": parameters(sev_snp="0")}),
    ],
    ObstacleKind.DEVICE_MISSING: [
        (SEV, NO_DEVICE),
        (SEV, system(NO_DEVICE, kernel_log=("SEV: TMR allocation failed",))),
        (SEV, system(NO_DEVICE, modules=frozenset())),
        (SEV, system(NO_DEVICE, psp_devices=())),
        (SEV, system(NO_DEVICE | OLD_KERNEL, psp_devices=(), processor=MILAN)),
    ],
    ObstacleKind.CAPABILITIES_UNREADABLE: [
        (SEV, {"domain": None, "domain_error": "x"})
    ],
    ObstacleKind.LIBVIRT_SAYS_NO: [
        (SEV, {"domain": DomainCapabilities(False)}),
        (SEV, {"domain": DomainCapabilities(False), "device": SevDevice()}),
        (SEV, system({"domain": DomainCapabilities(False)}, kernel_log=())),
        (
            SEV,
            system(
                {"domain": DomainCapabilities(False), "device": SevDevice()},
                kernel_log=(),
            ),
        ),
    ],
    ObstacleKind.BESIDE_SNP: [
        (SEV_ES, {"vm_types": VmTypes(0b10101)}),
        (SEV_ES, {"vm_types": None}),
    ],
    ObstacleKind.VERSION_TOO_OLD: [
        (
            SEV_ES,
            {
                "parameters": parameters(sev_snp="N"),
                "versions": Versions(qemu=(5, 2, 0)),
            },
        ),
        (SEV_SNP, {"domain": OLD, "versions": Versions((9, 0, 0), (7, 2, 22))}),
    ],
    ObstacleKind.TYPE_MISSING: [(SEV_SNP, {"domain": SNP_UNLISTED})],
    ObstacleKind.SLOTS_UNREADABLE: [
        (SEV, {"domain": DomainCapabilities(True, 0, 0), "cpuid": None} | NO_GROUPS)
    ],
    ObstacleKind.NO_SLOTS: [
        (SEV, {"domain": DomainCapabilities(True, 0, 99)}),
        (SEV_SNP, {"domain": dataclasses.replace(WITH_SNP, max_es_guests=0)}),
        (SEV_ES, {"parameters": parameters(ciphertext_hiding_asids="99")}),
    ],
    ObstacleKind.KVM_SAYS_NO: [(SEV, {"vm_types": VmTypes(0b11001)})],
    ObstacleKind.NO_FIRMWARE: [
        (SEV_SNP, {"firmware": FirmwareView(VIEW.folders, ())}),
        (
            SEV_SNP,
            {
                "firmware": FirmwareView(
                    VIEW.folders, (dataclasses.replace(OVMF, device="flash"),)
                )
            },
        ),
    ],
}
WRONG_POLICIES = [
    *(("sev_policy", text) for text in ("0x73", "0x333333333", "0xx", "NOSUCH")),
    ("snp_policy", "0x10000"),
]


def label(name: enum.Enum | str) -> str:
    text = name if isinstance(name, str) else str(name.value)
    return text.lower().replace(" ", "-")


def announced(
    capability: ModelCapability, cap: int | None = None, ratio: float = 1.0
) -> list[str]:
    ram = HostMemory(1, 1, ratio)
    host = HostCapabilities((capability,))
    return [text for _, text in host_report.lines(host, {SEV: cap}, ram)]


def refused_policy(option: str, text: str) -> str:
    """Return what nova-compute ends with where nova.conf has such a policy."""
    options = cfg.ConfigOpts()
    opts.register_opts(options)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"[sev]\n{option} = {text}\n")
        file.flush()
        options(["--config-file", file.name])
        with pytest.raises(ConfigurationError) as refusal:
            policy_options.policies(options)
    return str(refusal.value)


def lost_allocation_examples() -> Iterator[tuple[str, str]]:
    for obstacles in ("", "Its disk is on USB."):
        yield "allocation-lost", lost_allocations.allocation_lost("1", obstacles)
    yield "allocation-restored", lost_allocations.allocation_restored("1")
    error = DomainXMLError("x")
    yield "allocation-unknown", lost_allocations.unknown_allocation("1", error)


def refused_rescues(foreign: ForeignRequest) -> Iterator[tuple[str, str]]:
    for own, by_rescue in ((foreign, None), (None, GOOD)):
        (violation,) = check_rescue_image(own, by_rescue, "rescue image 1")
        yield label(Requirement.RESCUE_IMAGE), str(violation)


def wrong_launch_inputs() -> Iterator[tuple[str, str]]:
    """Yield what is said of launch inputs, on one host or on any."""
    short, host = "00" * 31, Topology(has_smt=True, sockets=2)
    for server, flavor, user_data in (
        ({"host_data": short}, {}, None),
        ({"host_data": ""}, {}, None),
        ({"host_data": "x"}, {}, None),
        ({"host_data": "user_data"}, {}, None),
        ({"host_data": "user_data"}, {}, "x"),
        ({"policy": "x"}, {}, None),
        ({"policy": "0xb0000"}, {}, None),
        ({"hostdata": ""}, {}, None),
        ({}, {"sev:host_data": ""}, None),
        *((keys, {}, None) for keys in wrong_id_blocks()),
        ({"policy": "0x120000"}, {}, None),
    ):
        metadata = {f"sev:{name}": value for name, value in server.items()}
        owners = Owner("image 1", {}), Owner("flavor m1", flavor)
        inputs = launch_inputs.parse(metadata, *owners, user_data)
        found = launch_inputs.check(inputs, SEV_SNP, allowed=True)
        for violation in found + launch_inputs.check_host(inputs, host):
            yield label(violation.requirement), str(violation)
        for model, allowed in ((None, True), (SEV_ES, True), (SEV_SNP, False)):
            for violation in launch_inputs.check(inputs, model, allowed=allowed):
                yield label(violation.requirement), str(violation)


def wrong_id_blocks() -> Iterator[dict[str, str]]:
    """Yield the keys of ID blocks that are wrong, without their prefix."""
    block, auth = owners_keys.sign(author=owners_keys.AUTHOR_KEY)
    packed = zlib.compress(auth)
    text = base64.b64encode(block).decode()
    yield {"id_block": text}
    yield {"id_block": text, "id_auth_1": ""}
    yield {"id_block": "x", "id_auth_0": ""}
    yield {"id_block": "", "id_auth_0": ""}
    yield {"id_block": text, "id_auth_0": "x"}
    for data in (
        b"",
        b"x",
        b"xx",
        packed[:-9],
        packed + b"x",
        zlib.compress(auth + b"x"),
    ):
        yield {"id_block": text, "id_auth_0": base64.b64encode(data).decode()}
    for change in (0, 8, 0x40, 0x244, 0x680):
        wrong = auth[:change] + b"\xaa" + auth[change + 1 :]
        yield {"id_block": text, "id_auth_0": base64.b64encode(wrong).decode()}
    alone = owners_keys.sign()[1]
    no_key = alone[:0x680] + b"x" + alone[0x681:]
    yield {"id_block": text, "id_auth_0": base64.b64encode(no_key).decode()}
    for arguments in ({"version": 2}, {"policy": 0x30001}):
        keys = owners_keys.as_metadata(*owners_keys.sign(**arguments))
        yield {key.removeprefix("sev:"): value for key, value in keys.items()}


def unmeasured_kernels() -> Iterator[tuple[str, str]]:
    for measures in (False, None):
        boot = verdict.KernelBoot("/usr/share/OVMF.fd", measures)
        held = {"node_amd_sev": {"resources": {"MEM_ENCRYPTION_CONTEXT": 1}}}
        seen = verdict.Observed(allocations=held, kernel=boot, has_run=True)
        (violation,) = verdict.decide(doors.HARD_REBOOT, GOOD, seen).tolerated
        yield label(violation.requirement), str(violation)


def lost_requests() -> Iterator[tuple[str, str]]:
    tdx = ForeignModel.INTEL_TDX
    for model, now in ((SEV, None), (SEV_SNP, SEV), (tdx, SEV_SNP)):
        violation = lost_request(model, now)
        yield label(violation.requirement), str(violation)


def slots_of_another_model() -> Iterator[tuple[str, str]]:
    held = SLOTS[Requirement.POOL]
    for door, none_free in (
        (doors.SPAWN, True),
        (doors.HARD_REBOOT, False),
        (doors.REBUILD, True),
    ):
        (violation,) = allocations_module.check_allocation(
            GOOD, held, lambda uuid: uuid, door.remedy, none_free=none_free
        )
        yield label(violation.requirement), str(violation)


def refused_id_blocks() -> Iterator[tuple[str, str]]:
    sources = "sev:id_block of the server", "sev:id_auth_* of the server"
    signed = SignedBlock(*owners_keys.sign(), *sources)
    (violation,) = signed.digest_violations("ab" * 48)
    yield label(violation.requirement), str(violation)
    inputs = launch_inputs.LaunchInputs(signed=signed)
    flavor, domain = objects.Flavor(name="m1", vcpus=2), LaunchedDomain(0x30000, 1)
    for other in (next_launch.RESCUE, next_launch.other_vcpus(domain, flavor)):
        launch = NextLaunch(same=signed.digest, other=other)
        (violation,) = verdict.check_digest(inputs, launch)
        yield label(violation.requirement), str(violation)
    for code in (7, 10, 11, 22):
        said = f"SNP_LAUNCH_FINISH ret=-5 fw_error={code} 'text'"
        (violation,) = launch_inputs.explain_error(inputs, said)
        yield label(violation.requirement), str(violation)


def examples() -> Iterator[tuple[str, str]]:
    """Yield label and text of each message, made by the code itself."""
    for requirement, changes in REQUESTS.items():
        for change in changes:
            request = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]
            (violation,) = check_request(request, {SEV: ON})
            yield label(requirement), str(violation)
    allowed = dataclasses.replace(
        GOOD,
        model=SEV_SNP,
        firmware_stateless=True,
        passthrough=(Setting("gpu:1", "the alias"),),
        allows_pci_devices=True,
    )
    old_qemu = judged(SEV_SNP, EVERYTHING, versions=Versions(qemu=(9, 1, 0)))
    (violation,) = check_request(allowed, {SEV_SNP: old_qemu})
    yield label(Requirement.NO_HOST_DEVICE), str(violation)
    for requirement, devices in DEVICES.items():
        for device in devices:
            xml = f"<domain><devices>{device}</devices></domain>"
            (violation,) = forbidden_devices.check_domain(GOOD, domain_xml.parse(xml))
            assert violation.requirement is requirement
            yield label(requirement), str(violation)
    (violation,) = check_vhost_user(GOOD, ["1"])
    yield label(Requirement.SHARED_MEMORY), str(violation)
    port = "<interface type='vhostuser'><mac address='fa:16:3e:00:00:01'/></interface>"
    refusal = "iommu_platform=true is not supported by the device"
    (violation,) = forbidden_devices.explain_error(GOOD, port, refusal)
    yield label(Requirement.VHOST_IOMMU), str(violation)
    for requirement, allocations in SLOTS.items():
        (violation,) = allocations_module.check_allocation(
            GOOD, allocations, lambda uuid: uuid
        )
        assert violation.requirement is requirement
        yield label(requirement), str(violation)
    (slip,) = near_misses.of_flavor(
        "flavor m1", {"hw:mem_encryption_modle": SEV_ES.value}
    )
    (violation,) = check_spelling(dataclasses.replace(GOOD, misspelt_models=(slip,)))
    yield label(Requirement.SPELLING), str(violation)
    yield label(Requirement.SPELLING), str(slip)
    snp = dataclasses.replace(GOOD, model=SEV_SNP)
    (violation,) = check_image_model(snp, SEV_SNP.value, NovaRelease(31))
    yield label(Requirement.IMAGE_MODEL), str(violation)
    yield (
        label(Requirement.IMAGE_MODEL),
        build_warnings.unreadable_model(SEV_SNP.value, (32, 33)),
    )
    foreign = ForeignRequest(ForeignModel.INTEL_TDX, GOOD.requesters)
    (violation,) = check_foreign(foreign, supported=False)
    yield label(Requirement.HOST), str(violation)
    yield from refused_rescues(foreign)
    yield from lost_requests()
    yield from wrong_launch_inputs()
    yield from unmeasured_kernels()
    yield from refused_id_blocks()
    (violation,) = allocations_module.check_foreign_allocation(foreign, {}, str)
    yield label(Requirement.SLOT), str(violation)
    yield from slots_of_another_model()
    yield from refused_slots()
    for obstacle, hosts in HOSTS.items():
        for model, change in hosts:
            facts = dataclasses.replace(EVERYTHING, **change)  # type: ignore[arg-type]
            capability = detect(facts)[model]
            assert capability.obstacle is obstacle
            (line,) = announced(capability)
            yield label(obstacle), line
            request = dataclasses.replace(GOOD, model=model)
            (*_, violation) = check_request(request, {model: capability})
            yield label(Requirement.HOST), str(violation)
    capability = detect(
        dataclasses.replace(
            EVERYTHING,
            es_beside_snp=True,
            versions=Versions(kernel=(6, 18, 0)),
            system=SystemFacts(kernel_log=("ccp: SEV-SNP API:1.58 build:4",)),
        )
    )[SEV_ES]
    yield "beside-snp", announced(capability)[1]
    for operation in operations.Operation:
        with pytest.raises(OperationNotSupported) as refused:
            operations.refuse(operation, SEV)
        yield label(operation), str(refused.value)
    yield "encryption-lost", str(EncryptionLost("instance-1", SEV, "no launchSecurity"))
    weak = PolicyTooWeak("instance-1", SEV, "0x0001", "0x0033 of nova.conf", ["NOKS"])
    yield "policy-too-weak", str(weak)
    with pytest.raises(DomainXMLError) as unreadable:
        domain_xml.parse("<")
    yield "domain-xml", str(unreadable.value)
    yield "cap-above", announced(ON, cap=16)[1]
    shared = HostCapabilities(
        tuple(ModelCapability(model, slots=5) for model in (SEV_ES, SEV_SNP)), 5
    )
    split = inventory.compute_offers(shared, {SEV_ES: 4, SEV_SNP: 4})[SEV_SNP]
    yield "shared-slots", str(split.warning)
    yield "not-managed", unmanaged_guests.not_managed("1")
    yield from lost_allocation_examples()
    yield "kernel-counts", unmanaged_guests.outside_libvirt(1, 2)
    yield "unread-domain", unmanaged_guests.unread_domain("1", DomainXMLError("x"))
    yield "slots-on-root", provider_plan.held_though_withheld(SEV_ES)
    yield "textfile-library", textfile.no_library("/a.prom")
    yield "textfile-name", str(textfile.misnamed("/a.txt"))
    yield "textfile-not-written", textfile.not_written("/a.prom", OSError("no"))
    yield "overcommit", announced(ON, ratio=1.5)[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nova_compat, "installed_release", lambda: NovaRelease(26))
        with pytest.raises(ConfigurationError) as old:
            nova_compat.check_nova()
    yield "nova-too-old", str(old.value)
    yield from log_messages.examples()
    yield from (("policy-value", refused_policy(*each)) for each in WRONG_POLICIES)
    for policy, text in (("policy-generation", 0x37), ("policy-debug", 0x32)):
        with pytest.raises(ConfigurationError) as refusal:
            Policies(sev=SevPolicy(text))
        yield policy, str(refusal.value)


def refused_slots() -> Iterator[tuple[str, str]]:
    """Yield what each door says of no slot, and of no answer by Placement."""
    for door in doors.DOORS:
        to_stock = verdict.Observed(goes_to_stock=True, leaves_machine_type_open=True)
        for seen in (verdict.Observed(allocations={}), to_stock):
            for violation in verdict.decide(door, GOOD, seen).violations:
                yield label(violation.requirement), str(violation)
    ours = dataclasses.replace(GOOD, on_stock_nova="in the clear")
    held = {"node_amd_sev": {"resources": {"MEM_ENCRYPTION_CONTEXT": 1}}}
    for door, change in (
        (doors.MIGRATE, {"goes_to_stock": True}),
        (doors.MIGRATE, {"goes_to_stock": None}),
        (doors.MIGRATE, {"new_host_lost_slots": True}),
        (doors.SPAWN, {"is_prepared_for_stock": True}),
    ):
        seen = verdict.Observed(allocations=held, **change)
        (violation,) = verdict.decide(door, ours, seen).violations
        yield label(violation.requirement), str(violation)


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
    kinds = {
        label(kind) for kind in (*Requirement, *ObstacleKind, *operations.Operation)
    }
    assert kinds <= {name for name, _ in EXAMPLES}
