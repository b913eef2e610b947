# SPDX-License-Identifier: Apache-2.0

"""reader: what is read of a host, how often, and what it means if nothing answers."""

import pathlib
from typing import Any

import libvirt
import pytest
from fake_libvirt import CAPABILITIES, Libvirt

from sev_driver.host import firmware_dirs, kernel
from sev_driver.host.detection import detect
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.files import LOCAL as LOCAL
from sev_driver.host.libvirt_connection import LibvirtClient
from sev_driver.host.reader import HostReader, read_facts
from sev_driver.model import MemoryEncryptionModel


@pytest.fixture
def root(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A host of which nothing but parameters will be seen."""
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(kernel, "KVM_PARAMETERS", tmp_path)
    monkeypatch.setattr(kernel, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(kernel, "MISC_DEVICES", tmp_path / "misc")
    monkeypatch.setattr(kernel, "CONTROL_GROUPS", (tmp_path / "cgroup",))
    monkeypatch.setattr(firmware_dirs, "FOLDERS", (tmp_path / "firmware",))
    return tmp_path


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_libvirt_is_asked_once(root: pathlib.Path, virt_type: str) -> None:
    connection = Libvirt(CAPABILITIES)
    facts = HostReader(virt_type, "x86_64").read(LibvirtClient(connection))
    assert facts.domain is not None and facts.domain.max_guests == 15
    assert connection.asked == [(None, "x86_64", "q35", virt_type, 0)]


@pytest.mark.parametrize(("virt_type", "arch"), [("lxc", "x86_64"), ("kvm", "aarch64")])
def test_libvirt_is_not_asked_in_vain(
    root: pathlib.Path, virt_type: str, arch: str
) -> None:
    connection = Libvirt(CAPABILITIES)
    assert HostReader(virt_type, arch).read(LibvirtClient(connection)).domain is None
    assert connection.calls == []


@pytest.mark.parametrize(
    "answer", [libvirt.libvirtError("connection lost"), "<nonsense/>", ""]
)
def test_what_libvirt_cannot_tell_is_told(
    root: pathlib.Path, answer: str | Exception
) -> None:
    facts = HostReader("kvm", "x86_64").read(LibvirtClient(Libvirt(answer)))
    assert facts.domain is None
    assert facts.domain_error


@pytest.mark.parametrize(
    ("switches", "calls"),
    [
        # As many as it took when there was plain SEV alone.
        ({}, ["getDomainCapabilities"]),
        ({"sev": "Y"}, ["getDomainCapabilities"]),
        ({"sev": "Y", "sev_es": "N"}, ["getDomainCapabilities"]),
        (
            {"sev": "Y", "sev_es": "Y"},
            ["getDomainCapabilities", "getLibVersion", "getVersion"],
        ),
        (
            {"sev": "Y", "sev_es": "Y", "sev_snp": "Y"},
            ["getDomainCapabilities", "getLibVersion", "getVersion"],
        ),
    ],
)
def test_a_connection_is_asked_once_however_often_the_host_is_looked_at(
    root: pathlib.Path, switches: dict[str, str], calls: list[str]
) -> None:
    for name, text in switches.items():
        (root / name).write_text(text)
    reader, connection = HostReader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    for _ in range(100):
        reader.read(LibvirtClient(connection))
    assert connection.calls == calls


def test_the_host_is_read_anew_when_it_can_have_changed(root: pathlib.Path) -> None:
    (root / "sev").write_text("Y\n")
    reader, connection = HostReader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    assert reader.read(LibvirtClient(connection)) is reader.read(
        LibvirtClient(connection)
    )
    assert len(connection.asked) == 1
    (root / "sev").write_text("N\n")
    assert not reader.read(LibvirtClient(connection)).parameters.sev.enabled
    assert len(connection.asked) == 2
    restarted = Libvirt("<domainCapabilities/>")
    assert reader.read(LibvirtClient(restarted)).domain == DomainCapabilities(sev=False)


def test_a_look_during_another_never_returns_what_was_before(
    root: pathlib.Path,
) -> None:
    """Another thread asks while this one still reads what has changed."""
    (root / "sev").write_text("Y\n")
    reader, connection = HostReader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    reader.read(LibvirtClient(connection))
    (root / "sev").write_text("N\n")
    ask, seen = connection.getDomainCapabilities, []

    def ask_beside_another(*arguments: Any) -> str:
        connection.getDomainCapabilities = ask  # type: ignore[method-assign]
        seen.append(reader.read(LibvirtClient(connection)))
        return ask(*arguments)

    connection.getDomainCapabilities = ask_beside_another  # type: ignore[method-assign]
    reader.read(LibvirtClient(connection))
    assert [facts.parameters.sev.enabled for facts in seen] == [False]


def test_a_host_that_is_repaired_is_offered_without_a_restart(
    root: pathlib.Path,
) -> None:
    """The secure processor answers again, and libvirtd is restarted."""
    (root / "sev").write_text("Y")
    (root / "misc").mkdir()
    reader = HostReader("kvm", "x86_64")
    dead = Libvirt("<domainCapabilities/>")
    sev = MemoryEncryptionModel.AMD_SEV
    assert (
        "/dev/sev does not exist"
        in detect(reader.read(LibvirtClient(dead)))[sev].reason
    )
    (root / "dev/sev").touch()
    assert "supported='no'" in detect(reader.read(LibvirtClient(dead)))[sev].reason
    assert detect(reader.read(LibvirtClient(Libvirt(CAPABILITIES))))[sev].slots == 15


@pytest.mark.parametrize("name", ["sev", "sev_es", "sev_snp"])
def test_a_change_of_any_of_them_is_seen(root: pathlib.Path, name: str) -> None:
    (root / "sev").write_text("Y")
    reader, connection = HostReader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    before = reader.read(LibvirtClient(connection))
    (root / name).write_text("1")
    assert reader.read(LibvirtClient(connection)) is not before


@pytest.mark.parametrize(("es", "is_seen"), [("Y", True), ("N", False)])
def test_a_descriptor_is_seen_where_a_model_needs_it(
    root: pathlib.Path, es: str, is_seen: bool
) -> None:
    (root / "sev").write_text("Y")
    (root / "sev_es").write_text(es)
    (root / "firmware").mkdir()
    reader, connection = HostReader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    before = reader.read(LibvirtClient(connection))
    (root / "firmware/60.json").write_text("1")
    assert (reader.read(LibvirtClient(connection)) is not before) is is_seen


def test_what_could_not_be_read_is_read_again(root: pathlib.Path) -> None:
    reader = HostReader("kvm", "x86_64")
    connection = Libvirt(libvirt.libvirtError("busy"))
    assert reader.read(LibvirtClient(connection)).domain is None
    connection.answer = CAPABILITIES
    assert reader.read(LibvirtClient(connection)).domain is not None


def test_all_that_the_host_shows_is_in_the_facts(root: pathlib.Path) -> None:
    for name in ("sev", "sev_es", "sev_snp"):
        (root / name).write_text("Y")
    (root / "cgroup").mkdir()
    (root / "cgroup/misc.capacity").write_text("sev 15\nsev_es 0\n")
    (root / "dev/sev").touch()
    (root / "firmware").mkdir()
    facts = HostReader("kvm", "x86_64", "AMD").read(
        LibvirtClient(Libvirt(CAPABILITIES))
    )
    assert facts.vendor == "AMD"
    assert facts.device.present
    assert facts.misc_capacity == {"sev": 15, "sev_es": 0}
    assert (facts.versions.libvirt, facts.versions.qemu) == ((9, 0, 0), (7, 2, 22))
    assert facts.firmware is not None and not facts.firmware.descriptors


@pytest.mark.parametrize("answer", [CAPABILITIES, "<domainCapabilities/>", ""])
@pytest.mark.parametrize("switches", ["", "Y", "YN", "YY", "YYN", "YYY", "NYY"])
def test_what_is_left_out_does_not_change_the_conclusion(
    root: pathlib.Path, switches: str, answer: str
) -> None:
    for name, text in zip(("sev", "sev_es", "sev_snp"), switches, strict=False):
        (root / name).write_text(text)
    (root / "cgroup").mkdir()
    (root / "cgroup/misc.capacity").write_text("sev 14\nsev_es 9\n")
    client = LibvirtClient(Libvirt(answer))
    all_facts = read_facts(LOCAL, client, "kvm", "x86_64")
    assert all_facts.misc_capacity == {"sev": 14, "sev_es": 9}
    needed = read_facts(LOCAL, client, "kvm", "x86_64", needed_only=True)
    assert dict(detect(needed)) == dict(detect(all_facts))


def test_a_secure_processor_that_fails_while_nova_compute_runs_is_seen(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt and the parameters still say that all is well."""
    log = root / "kmsg"
    monkeypatch.setattr(kernel, "KERNEL_LOG", log)
    log.write_text("6,1,8000000,-;ccp 0000:42:00.1: SEV API:1.55 build:21\n")
    (root / "sev").write_text("Y")
    (root / "dev/sev").touch()
    reader, client = HostReader("kvm", "x86_64"), LibvirtClient(Libvirt(CAPABILITIES))
    sev = MemoryEncryptionModel.AMD_SEV
    assert detect(reader.read(client))[sev].supported
    with log.open("a") as file:
        file.write("3,2,9000000000,-;ccp 0000:42:00.1: sev command 0x4 timed out, ")
        file.write("disabling PSP\n")
    assert "disabling PSP" in detect(reader.read(client))[sev].reason
