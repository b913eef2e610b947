# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses

import pytest
from host_facts import EVERYTHING
from nova_evidence import evidence

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host import nova_compute
from sev_driver.doctor.host.archive import Archive
from sev_driver.doctor.host.checks import libvirt
from sev_driver.doctor.host.evidence import Daemon, Evidence, Fact, Opening
from sev_driver.doctor.host.gather import gather
from sev_driver.doctor.host.libvirt import Nobody
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.exceptions import DetectionError
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import Version, Versions
from sev_driver.host.files import Status
from sev_driver.model import MemoryEncryptionModel

PASS, WARN, FAIL, SKIP = Verdict

#: QEMU was asked, and says no.
NO_SEV = dataclasses.replace(EVERYTHING, domain=DomainCapabilities(False))
DEVICE = Fact(Status("c", 0o600, "root", "root"))


def found(id: str, host: Evidence) -> Finding:
    findings = run_checks(checks_of(libvirt), host, MemoryEncryptionModel.AMD_SEV)
    return next(each for each in findings if each.check.id == f"libvirt.{id}")


def dev_sev(host: Evidence) -> Finding:
    return found("dev-sev", host)


@pytest.mark.parametrize(
    ("error", "nodev", "by", "verdict", "advice"),
    [
        ("", False, "root", PASS, ""),
        ("Permission denied", True, "root", FAIL, "mount -o remount,bind,dev /dev/sev"),
        ("Operation not permitted", False, "root", FAIL, "DeviceAllow=/dev/sev rw"),
        # Nobody but root may open it: that says nothing of QEMU.
        ("Permission denied", False, "nova", PASS, ""),
    ],
)
def test_a_device_that_not_even_root_can_open(
    error: str, nodev: bool, by: str, verdict: Verdict, advice: str
) -> None:
    host = evidence(
        facts=NO_SEV,
        libvirt=Fact("qemu:///system"),
        kvm_device=Fact(Status("c", 0o660, "root", "kvm")),
        sev_device=DEVICE,
        sev_opening=Fact(Opening(error, nodev)),
        read_as=by,
    )
    finding = dev_sev(host)
    assert (finding.verdict, advice in finding.remedy) == (verdict, True), finding
    if verdict is FAIL:
        assert error in finding.seen
        assert "rm -r /var/cache/libvirt/qemu/capabilities" in finding.remedy


@pytest.mark.parametrize(
    ("daemon", "unit"),
    [
        (Fact(Daemon("virtqemud", 7, None, None)), "virtqemud"),
        (Fact(Daemon("libvirtd", 7, None, None)), "libvirtd"),
        (Fact(), "libvirtd"),
    ],
)
def test_the_daemon_to_restart_is_the_one_that_runs(
    daemon: Fact[Daemon], unit: str
) -> None:
    host = evidence(
        facts=NO_SEV,
        libvirt=Fact("qemu:///system"),
        kvm_device=Fact(Status("c", 0o660, "root", "kvm")),
        sev_device=DEVICE,
        sev_opening=Fact(Opening("Permission denied", True)),
        daemon=daemon,
    )
    assert dev_sev(host).remedy.endswith(f"systemctl restart {unit}")
    for changes in (
        {"sev_device": Fact(Status("c", 0, "root", "root"))},
        {"qemu_conf": Fact({"namespaces": "[]", "user": "qemu"})},
    ):
        other = dataclasses.replace(host, sev_opening=Fact(), **changes)  # type: ignore[arg-type]
        assert dev_sev(other).remedy.endswith(f"restart {unit}")


UNREAD: Fact[str] = Fact(unknown="denied")


@pytest.mark.parametrize(
    ("apparmor", "selinux", "log", "verdict", "said"),
    [
        (UNREAD, UNREAD, None, SKIP, "whether AppArmor and SELinux is on cannot be"),
        (Fact(), UNREAD, None, SKIP, "whether SELinux is on cannot be read"),
        (Fact(), Fact(), None, PASS, "neither AppArmor nor SELinux is on"),
        (Fact("Y"), UNREAD, None, SKIP, "AppArmor is on, whether SELinux is on"),
        (UNREAD, UNREAD, (), PASS, "cannot be read; no denial of /dev/sev is seen"),
        (Fact(), Fact(), (), PASS, "none is on; no denial"),
    ],
)
def test_what_is_unreadable_is_not_taken_for_off(
    apparmor: Fact[str],
    selinux: Fact[str],
    log: tuple[str, ...] | None,
    verdict: Verdict,
    said: str,
) -> None:
    host = evidence(
        facts=NO_SEV,
        libvirt=Fact("qemu:///system"),
        kvm_device=Fact(Status("c", 0o660, "root", "kvm")),
        sev_device=DEVICE,
        apparmor=apparmor,
        selinux=selinux,
        kernel_log=Fact(unknown="denied") if log is None else Fact(log),
    )
    finding = found("confinement", host)
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding


def test_a_libvirt_that_an_archive_does_not_tell_of_is_not_to_be_started() -> None:
    finding = found("reach", gather(Archive("", "", {}), Nobody()))
    assert (finding.verdict, finding.remedy) == (SKIP, "")
    assert "is not in the archive" in finding.seen


@pytest.mark.parametrize(
    ("release", "version", "verdict"),
    [
        (34, (9, 0, 0), WARN),
        (33, (9, 0, 0), WARN),
        (32, (9, 0, 0), PASS),
        (None, (9, 0, 0), PASS),
        (34, (10, 0, 0), PASS),
        (34, None, PASS),
    ],
)
def test_a_libvirt_that_refuses_plain_uefi_guests_is_a_warning(
    release: int | None, version: Version | None, verdict: Verdict
) -> None:
    facts = dataclasses.replace(EVERYTHING, versions=Versions(version, (7, 2, 0)))
    host = evidence(facts=facts, nova_release=Fact(release))
    finding = found("versions", host)
    assert finding.verdict is verdict
    assert verdict is PASS or "loader attribute 'secure'" in finding.seen


def test_the_release_of_nova_is_read_from_its_version() -> None:
    read = nova_compute.release
    assert read(Archive("", "", {"asked/nova/release": b"31.3.1"})) == 31
    for answer in (b"", b"nova", b"34" * 20):
        with pytest.raises(DetectionError):
            read(Archive("", "", {"asked/nova/release": answer}))
