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

"""requirements: every violation at once, in words, short enough for a fault."""

import dataclasses

import pytest

from sev_driver.capabilities import ModelCapability, Obstacle
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import (
    Fault,
    GuestRequest,
    Requirement,
    Setting,
    check,
)

SEV = MemoryEncryptionModel.AMD_SEV
HOST = {SEV: ModelCapability(SEV, slots=15, slots_source="a test")}
GOOD = GuestRequest(
    model=SEV,
    requesters=("hw:mem_encryption of flavor m1.sev",),
    machine_type=Setting("q35", "hw_machine_type of the image"),
    firmware_type="uefi",
)
OFF = ModelCapability(
    SEV, Obstacle.PARAMETER_OFF, "the parameter sev is N", "load kvm_amd"
)


@pytest.mark.parametrize("machine_type", [None, "q35", "pc-q35-7.2"])
def test_nothing_is_wrong(machine_type: str | None) -> None:
    setting = machine_type and Setting(machine_type, "hw_machine_type of the image")
    request = dataclasses.replace(GOOD, machine_type=setting or None)
    assert check(request, HOST) == ()


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
    (violation,) = check(dataclasses.replace(GOOD, **change), HOST)  # type: ignore[arg-type]
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
    assert check(request, HOST) == ()


def test_more_devices_of_the_host() -> None:
    one, two = Setting("a", "flavor"), Setting("direct", "port")
    request = GOOD.with_passthrough((one,)).with_passthrough((two,))
    assert request.passthrough == (one, two)
    assert GOOD.passthrough == ()


def test_a_host_without_sev_is_the_hosts_fault() -> None:
    (violation,) = check(GOOD, {SEV: OFF})
    assert violation.fault is Fault.HOST
    assert str(violation).endswith(
        "but AMD SEV is off on this host: the parameter sev is N: "
        "load kvm_amd, or use another host."
    )


def test_a_model_that_is_not_judged_here_is_left_to_nova() -> None:
    request = dataclasses.replace(GOOD, model=MemoryEncryptionModel.AMD_SEV_ES)
    assert check(request, HOST) == ()


def test_snp_needs_stateless_firmware() -> None:
    snp = dataclasses.replace(GOOD, model=MemoryEncryptionModel.AMD_SEV_SNP)
    (violation,) = check(snp, HOST)
    assert (violation.requirement, violation.fault) == (
        Requirement.FIRMWARE_STATELESS,
        Fault.REQUEST,
    )
    assert check(dataclasses.replace(snp, firmware_stateless=True), HOST) == ()


def test_all_violations_are_told_the_guests_own_first() -> None:
    request = GuestRequest(
        SEV,
        ("a", "b"),
        Setting("pc", "hw_machine_type of the image"),
        conflict="c denies it",
    )
    violations = check(request, {SEV: OFF})
    assert [v.fault for v in violations] == [Fault.REQUEST] * 3 + [Fault.HOST]
    assert all("a and b asks for AMD SEV" in str(v) for v in violations)


def test_what_a_user_wrote_begins_no_line_of_the_log() -> None:
    forged = Setting("pc\n2026-01-01 ERROR nova [-] \x1b[2Jall is lost" * 9, "an image")
    (violation,) = check(dataclasses.replace(GOOD, machine_type=forged), HOST)
    assert str(violation).isprintable()
    assert "an image is pc?2026" in str(violation) and len(str(violation)) < 500


def test_a_violation_fits_into_the_fault_that_nova_shows() -> None:
    request = dataclasses.replace(
        GOOD,
        machine_type=Setting("pc-i440fx-9.2", "[libvirt] hw_machine_type on this host"),
    )
    (violation,) = check(request, HOST)
    build_aborted = "Build of instance 00000000-0000-0000-0000-000000000000 aborted: "
    assert len(build_aborted + str(violation)) <= 255
