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

"""host: what libvirt is asked, how often, and what its silence means."""

import pathlib

import libvirt
import pytest

from sev_driver import firmware_folders, host, kernel
from sev_driver.detection import conclude
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.exceptions import DetectionError
from sev_driver.facts import Versions
from sev_driver.model import MemoryEncryptionModel


class Libvirt:
    """Answers as libvirt would, or with its own error, and counts."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []
        self.calls: list[str] = []

    def getDomainCapabilities(self, *arguments: object) -> str:
        self.asked.append(arguments)
        self.calls.append("getDomainCapabilities")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def getLibVersion(self) -> int:
        self.calls.append("getLibVersion")
        return 9_000_000

    def getVersion(self) -> int:
        self.calls.append("getVersion")
        return 7_002_022


CAPABILITIES = (
    "<domainCapabilities><features><sev supported='yes'>"
    "<maxGuests>15</maxGuests></sev></features></domainCapabilities>"
)


@pytest.fixture
def root(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A host of which nothing but parameters will be seen."""
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(kernel, "KVM_PARAMETERS", tmp_path)
    monkeypatch.setattr(kernel, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(kernel, "MISC_DEVICES", tmp_path / "misc")
    monkeypatch.setattr(kernel, "CONTROL_GROUPS", (tmp_path / "cgroup",))
    monkeypatch.setattr(firmware_folders, "FOLDERS", (tmp_path / "firmware",))
    return tmp_path


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_libvirt_is_asked_once(root: pathlib.Path, virt_type: str) -> None:
    connection = Libvirt(CAPABILITIES)
    facts = host.Reader(virt_type, "x86_64").read(connection)
    assert facts.domain is not None and facts.domain.max_guests == 15
    assert connection.asked == [(None, "x86_64", "q35", virt_type, 0)]


@pytest.mark.parametrize(("virt_type", "arch"), [("lxc", "x86_64"), ("kvm", "aarch64")])
def test_libvirt_is_not_asked_in_vain(
    root: pathlib.Path, virt_type: str, arch: str
) -> None:
    connection = Libvirt(CAPABILITIES)
    assert host.Reader(virt_type, arch).read(connection).domain is None
    assert connection.calls == []


@pytest.mark.parametrize(
    "answer", [libvirt.libvirtError("connection lost"), "<nonsense/>", ""]
)
def test_what_libvirt_cannot_tell_is_told(
    root: pathlib.Path, answer: str | Exception
) -> None:
    facts = host.Reader("kvm", "x86_64").read(Libvirt(answer))
    assert facts.domain is None
    assert facts.domain_error


def test_a_libvirt_error_is_a_detection_error() -> None:
    with pytest.raises(DetectionError, match="connection lost"):
        host.read_domain_capabilities(
            Libvirt(libvirt.libvirtError("connection lost")), "kvm"
        )


def test_a_version_that_libvirt_does_not_tell_is_unknown() -> None:
    connection = Libvirt(CAPABILITIES)

    def fail() -> int:
        raise libvirt.libvirtError("no version")

    connection.getVersion = fail  # type: ignore[method-assign]
    versions = host.read_versions(connection)
    assert versions == Versions((9, 0, 0), None, kernel.read_kernel_version())


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
    reader, connection = host.Reader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    for _ in range(100):
        reader.read(connection)
    assert connection.calls == calls


def test_the_host_is_read_anew_when_it_can_have_changed(root: pathlib.Path) -> None:
    (root / "sev").write_text("Y\n")
    reader, connection = host.Reader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    assert reader.read(connection) is reader.read(connection)
    assert len(connection.asked) == 1
    (root / "sev").write_text("N\n")
    assert not reader.read(connection).parameters.sev.enabled
    assert len(connection.asked) == 2
    restarted = Libvirt("<domainCapabilities/>")
    assert reader.read(restarted).domain == DomainCapabilities(sev=False)


def test_a_host_that_is_repaired_is_offered_without_a_restart(
    root: pathlib.Path,
) -> None:
    """The secure processor answers again, and libvirtd is restarted."""
    (root / "sev").write_text("Y")
    (root / "misc").mkdir()
    reader = host.Reader("kvm", "x86_64")
    dead = Libvirt("<domainCapabilities/>")
    sev = MemoryEncryptionModel.AMD_SEV
    assert "no /dev/sev" in conclude(reader.read(dead))[sev].reason
    (root / "dev/sev").touch()
    assert "supported='no'" in conclude(reader.read(dead))[sev].reason
    assert conclude(reader.read(Libvirt(CAPABILITIES)))[sev].slots == 15


@pytest.mark.parametrize("name", ["sev", "sev_es", "sev_snp", "firmware/60.json"])
def test_a_change_of_any_of_them_is_seen(root: pathlib.Path, name: str) -> None:
    (root / "sev").write_text("Y")
    (root / "firmware").mkdir()
    reader, connection = host.Reader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    before = reader.read(connection)
    (root / name).write_text("1")
    assert reader.read(connection) is not before


def test_what_could_not_be_read_is_read_again(root: pathlib.Path) -> None:
    reader = host.Reader("kvm", "x86_64")
    connection = Libvirt(libvirt.libvirtError("busy"))
    assert reader.read(connection).domain is None
    connection.answer = CAPABILITIES
    assert reader.read(connection).domain is not None


def test_all_that_the_host_shows_is_in_the_facts(root: pathlib.Path) -> None:
    for name in ("sev", "sev_es", "sev_snp"):
        (root / name).write_text("Y")
    (root / "cgroup").mkdir()
    (root / "cgroup/misc.capacity").write_text("sev 15\nsev_es 0\n")
    (root / "dev/sev").touch()
    (root / "firmware").mkdir()
    facts = host.Reader("kvm", "x86_64", "AMD").read(Libvirt(CAPABILITIES))
    assert facts.vendor == "AMD"
    assert facts.device.present
    assert facts.misc_capacity == {"sev": 15, "sev_es": 0}
    assert (facts.versions.libvirt, facts.versions.qemu) == ((9, 0, 0), (7, 2, 22))
    assert facts.firmware is not None and not facts.firmware.descriptors


def test_libvirt_out_of_reach_is_told_and_not_taken_for_a_later_error() -> None:
    with pytest.raises(DetectionError, match="/does/not/exist"):
        host.connect("qemu:///system?socket=/does/not/exist")
    assert str(libvirt.libvirtError("later")) == "later"


def test_libvirts_own_test_driver_is_reached() -> None:
    connection = host.connect("test:///default")
    (domain,) = host.running(connection)
    assert "<name>test</name>" in (host.read_xml(domain) or "")
    assert host.read_versions(connection).libvirt
    connection.close()
