# SPDX-License-Identifier: Apache-2.0

"""requirements: every violation at once, in words, short enough for a fault."""

import dataclasses

import pytest

from sev_driver.exceptions import Fault, Requirement
from sev_driver.guest.requirements import (
    GuestRequest,
    Setting,
    check_image_model,
    check_request,
)
from sev_driver.host.capabilities import (
    HostCapabilities,
    ModelCapability,
    ObstacleKind,
)
from sev_driver.model import MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease

SEV = MemoryEncryptionModel.AMD_SEV
HOST = {SEV: ModelCapability(SEV, slots=15, slots_source="a test")}
GOOD = GuestRequest(
    model=SEV,
    requesters=("hw:mem_encryption of flavor m1.sev",),
    machine_type=Setting("q35", "hw_machine_type of the image"),
    firmware_type="uefi",
)
OFF = ModelCapability(
    SEV, ObstacleKind.PARAMETER_OFF, "the parameter sev is N", "load kvm_amd"
)


@pytest.mark.parametrize("machine_type", [None, "q35", "pc-q35-7.2"])
def test_nothing_is_wrong(machine_type: str | None) -> None:
    setting = machine_type and Setting(machine_type, "hw_machine_type of the image")
    request = dataclasses.replace(GOOD, machine_type=setting or None)
    assert check_request(request, HOST) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"secure_boot": Setting("required", "os_secure_boot of the image")},
        # In encrypted memory QEMU cannot read its tables; unused it does no harm.
        {"viommu": Setting("intel", "hw_viommu_model of the image")},
    ],
)
def test_what_amd_sev_can_have(change: dict[str, object]) -> None:
    assert check_request(dataclasses.replace(GOOD, **change), HOST) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"machine_type": Setting("pc", "hw_machine_type of the image")},
            "hw_machine_type of the image is pc: set hw_machine_type=q35",
        ),
        (
            {"machine_type": Setting("pc", "[libvirt] hw_machine_type on this host")},
            "[libvirt] hw_machine_type on this host is pc: set hw_machine_type=q35",
        ),
        ({"firmware_type": None}, "hw_firmware_type unset: set hw_firmware_type=uefi"),
        ({"firmware_type": "bios"}, "hw_firmware_type bios"),
        (
            {"conflict": "hw_mem_encryption of the image deb denies it"},
            "hw_mem_encryption of the image deb denies it",
        ),
        (
            {
                "model": MemoryEncryptionModel.AMD_SEV_ES,
                "secure_boot": Setting("required", "os_secure_boot of the image"),
            },
            "os_secure_boot of the image is required, and Secure Boot needs SMM, which "
            "AMD SEV-ES does not have: set it to disabled",
        ),
        (
            {"viommu": Setting("virtio", "hw_viommu_model of the image")},
            "hw_viommu_model of the image is virtio",
        ),
        (
            {"viommu": Setting("auto", "hw:viommu_model of flavor m1")},
            "hw:viommu_model of flavor m1 is auto",
        ),
        ({"passthrough": (Setting("a1:1", "alias of m1"),)}, "alias of m1 is a1:1"),
        ({"disk_bus": Setting("ide", "hw_disk_bus of the image")}, "is ide: set"),
        ({"disk_bus": Setting("usb", "hw_disk_bus of the image")}, "is usb: set"),
        (
            {"disk_bus": Setting("scsi", "hw_disk_bus of the image")},
            "is scsi with hw_scsi_model unset",
        ),
        (
            {
                "disk_bus": Setting("scsi", "hw_disk_bus of the image"),
                "scsi_model": "lsilogic",
            },
            "is scsi with hw_scsi_model lsilogic",
        ),
    ],
)
def test_a_faulty_request(change: dict[str, object], words: str) -> None:
    (violation,) = check_request(dataclasses.replace(GOOD, **change), HOST)  # type: ignore[arg-type]
    assert violation.fault is Fault.REQUEST
    assert str(violation).startswith("hw:mem_encryption of flavor m1.sev asks for AMD")
    assert words in str(violation)


@pytest.mark.parametrize(
    ("bus", "scsi_model"),
    [("virtio", None), ("sata", None), ("scsi", "virtio-scsi")],
)
def test_buses_to_boot_from(bus: str, scsi_model: str | None) -> None:
    setting = Setting(bus, "hw_disk_bus of the image")
    request = dataclasses.replace(GOOD, disk_bus=setting, scsi_model=scsi_model)
    assert check_request(request, HOST) == ()


def test_more_devices_of_the_host() -> None:
    one, two = Setting("a", "flavor"), Setting("direct", "port")
    request = GOOD.with_passthrough((one,)).with_passthrough((two,))
    assert request.passthrough == (one, two)
    assert GOOD.passthrough == ()


PORT = Setting("direct", "the vnic type of port 1")
VGPU = Setting("1", "resources:VGPU of flavor m1")
SNP_GUEST = GuestRequest(
    MemoryEncryptionModel.AMD_SEV_SNP,
    ("hw:mem_encryption of flavor m1.sev",),
    firmware_type="uefi",
    firmware_stateless=True,
    passthrough=(PORT,),
)
SNP_HOST = HostCapabilities((ModelCapability(MemoryEncryptionModel.AMD_SEV_SNP),))
OLD_QEMU = HostCapabilities(
    (
        ModelCapability(
            MemoryEncryptionModel.AMD_SEV_SNP,
            pci_obstacle="AMD SEV-SNP needs QEMU 9.2.0 for it, and this host has "
            "QEMU 9.1.0",
        ),
    )
)


@pytest.mark.parametrize(
    ("allowed", "host", "words"),
    [
        (False, SNP_HOST, ["a host device: remove it, because"]),
        (False, OLD_QEMU, ["a host device: remove it, because"]),
        (True, SNP_HOST, []),
        (True, OLD_QEMU, ["needs QEMU 9.2.0 for it, and this host has QEMU 9.1.0"]),
        # Where nothing is known of the host, another one will say.
        (True, HostCapabilities(()), []),
    ],
)
def test_pci_device_is_allowed_by_the_option_and_qemu_together(
    *, allowed: bool, host: HostCapabilities, words: list[str]
) -> None:
    request = dataclasses.replace(SNP_GUEST, allows_pci_devices=allowed)
    found = check_request(request, host)
    assert [v.requirement for v in found] == [Requirement.NO_HOST_DEVICE] * len(words)
    assert all(
        each in str(violation) for each, violation in zip(words, found, strict=True)
    )


def test_vgpu_is_refused_whatever_is_allowed() -> None:
    request = dataclasses.replace(
        SNP_GUEST, mediated=(VGPU,), passthrough=(), allows_pci_devices=True
    )
    (violation,) = check_request(request, SNP_HOST)
    assert "resources:VGPU of flavor m1 is 1, a host device" in str(violation)


def test_a_host_without_sev_is_the_hosts_fault() -> None:
    (violation,) = check_request(GOOD, {SEV: OFF})
    assert violation.fault is Fault.HOST
    assert str(violation).endswith(
        "but AMD SEV is not available on this host: the parameter sev is N: "
        "load kvm_amd, or use another host."
    )


def test_a_model_that_is_not_judged_here_is_left_to_nova() -> None:
    request = dataclasses.replace(GOOD, model=MemoryEncryptionModel.AMD_SEV_ES)
    assert check_request(request, HOST) == ()


def test_snp_needs_stateless_firmware() -> None:
    snp = dataclasses.replace(GOOD, model=MemoryEncryptionModel.AMD_SEV_SNP)
    (violation,) = check_request(snp, HOST)
    assert (violation.requirement, violation.fault) == (
        Requirement.FIRMWARE_STATELESS,
        Fault.REQUEST,
    )
    assert check_request(dataclasses.replace(snp, firmware_stateless=True), HOST) == ()


def test_all_violations_are_told_the_guests_own_first() -> None:
    request = GuestRequest(
        SEV,
        ("a", "b"),
        Setting("pc", "hw_machine_type of the image"),
        conflict="c denies it",
    )
    violations = check_request(request, {SEV: OFF})
    assert [v.fault for v in violations] == [Fault.REQUEST] * 3 + [Fault.HOST]
    assert all("a and b asks for AMD SEV" in str(v) for v in violations)


def test_what_a_user_wrote_begins_no_line_of_the_log() -> None:
    forged = Setting("pc\n2026-01-01 ERROR nova [-] \x1b[2Jall is lost" * 9, "an image")
    (violation,) = check_request(dataclasses.replace(GOOD, machine_type=forged), HOST)
    assert str(violation).isprintable()
    assert "an image is pc?2026" in str(violation) and len(str(violation)) < 500


def test_a_violation_fits_into_the_fault_that_nova_shows() -> None:
    request = dataclasses.replace(
        GOOD,
        machine_type=Setting("pc-i440fx-9.2", "[libvirt] hw_machine_type on this host"),
    )
    (violation,) = check_request(request, HOST)
    build_aborted = "Build of instance 00000000-0000-0000-0000-000000000000 aborted: "
    assert len(build_aborted + str(violation)) <= 255


@pytest.mark.parametrize(
    ("named", "release", "refused"),
    [
        ("amd-sev-snp", 27, True),
        ("amd-sev-snp", 31, True),
        ("amd-sev-snp", 33, False),
        ("amd-sev-snp", 34, False),
        ("amd-sev-es", 31, False),
        (None, 31, False),
    ],
)
def test_image_model_that_the_next_nova_cannot_read(
    named: str | None, release: int, refused: bool
) -> None:
    found = check_image_model(GOOD, named, NovaRelease(release))
    assert [v.requirement for v in found] == [Requirement.IMAGE_MODEL] * refused
    assert all(len(str(v)) < 256 for v in found)
