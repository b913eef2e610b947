# SPDX-License-Identifier: Apache-2.0
"""kernel_boot: which guest firmware loads a kernel, and whether it is measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import ovmf_file
import pytest
from host_facts import EVERYTHING

from sev_driver.compute import kernel_boot, nova_compat
from sev_driver.compute.verdict import ExistingDomain, KernelBoot
from sev_driver.domain.xml import parse
from sev_driver.guest.requirements import GuestRequest
from sev_driver.host.facts import HostFacts
from sev_driver.host.firmware import FirmwareDescriptor, FirmwareView
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease

EVERY = frozenset({"amd-sev", "amd-sev-es", "amd-sev-snp"})


def request_of(model: MemoryEncryptionModel) -> GuestRequest:
    return GuestRequest(model, ("flavor",), firmware_stateless=model is SEV_SNP)


def host(path: Path | str) -> HostFacts:
    """Return a host on which libvirt selects this guest firmware."""
    descriptor = FirmwareDescriptor(
        str(path), "memory", frozenset({"uefi"}), ("pc-q35-*",), EVERY
    )
    view = FirmwareView(("/usr",), (descriptor,))
    return dataclasses.replace(EVERYTHING, firmware=view)


def existing(path: Path, model: MemoryEncryptionModel) -> ExistingDomain:
    xml = f"<domain><os><loader>{path}</loader></os></domain>"
    return ExistingDomain(parse(xml), model)


@pytest.fixture
def amdsev(tmp_path: Path) -> Path:
    path = tmp_path / "OVMF.amdsev.fd"
    path.write_bytes(ovmf_file.amdsev())
    return path


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """As Debian 13's own: with SEV metadata, and an entry of zeros for hashes."""
    path = tmp_path / "OVMF.fd"
    path.write_bytes(ovmf_file.ovmf(*ovmf_file.SECTIONS))
    return path


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_firmware_that_libvirt_selects(
    model: MemoryEncryptionModel,
    amdsev: Path,
    debian: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(34))
    for path, measures in ((amdsev, True), (debian, False)):
        found = kernel_boot.of(host(path), request_of(model), None)
        assert found == KernelBoot(str(path), measures)


def test_what_is_unknown(tmp_path: Path) -> None:
    request = request_of(SEV_SNP)
    absent = str(tmp_path / "absent.fd")
    assert kernel_boot.of(host(absent), request, None) == KernelBoot(absent)
    none = dataclasses.replace(EVERYTHING, firmware=FirmwareView(("/usr",), ()))
    assert kernel_boot.of(none, request, None) == KernelBoot()
    broken = tmp_path / "broken.fd"
    broken.write_bytes(b"QFI\xfb")
    assert kernel_boot.of(host(broken), request, None) == KernelBoot(str(broken))


@pytest.mark.parametrize(
    ("release", "model", "measures"),
    [(31, SEV, False), (31, SEV_ES, True), (33, SEV, False), (33, SEV_ES, False)],
)
def test_firmware_of_the_existing_domain(
    release: int,
    model: MemoryEncryptionModel,
    measures: bool,
    amdsev: Path,
    debian: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is kept, unless an older Nova has selected it without regard to the model."""
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(release))
    before = existing(debian, model)
    found = kernel_boot.of(host(amdsev), request_of(model), before)
    assert found.measures is measures


def test_domain_of_another_model_is_created_again(amdsev: Path, debian: Path) -> None:
    found = kernel_boot.of(host(amdsev), request_of(SEV_ES), existing(debian, SEV))
    assert found.measures is True


def test_firmware_that_older_nova_selects_for_sev_is_unknown(
    amdsev: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(31))
    assert kernel_boot.of(host(amdsev), request_of(SEV), None) == KernelBoot()
