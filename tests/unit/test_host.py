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

"""host: what is read, and that what cannot be read is told apart."""

import pathlib

import libvirt
import pytest

from sev_driver import host
from sev_driver.domain_capabilities import DomainCapabilities
from sev_driver.exceptions import DetectionError


class Libvirt:
    """Answers as libvirt would: a document, or its own error."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []

    def getDomainCapabilities(self, *arguments: object) -> str:
        self.asked.append(arguments)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


CAPABILITIES = (
    "<domainCapabilities><features><sev supported='yes'>"
    "<maxGuests>15</maxGuests></sev></features></domainCapabilities>"
)


@pytest.fixture
def parameters(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(host, "KVM_PARAMETERS", tmp_path)
    return tmp_path


def test_a_parameter_is_read(parameters: pathlib.Path) -> None:
    (parameters / "sev").write_text("Y\n")
    parameter = host.read_kvm_parameter("sev")
    assert (parameter.text, parameter.error) == ("Y\n", None)
    assert parameter.path == str(parameters / "sev")


def test_a_missing_parameter_is_no_error(parameters: pathlib.Path) -> None:
    parameter = host.read_kvm_parameter("sev")
    assert (parameter.text, parameter.error) == (None, None)


def test_an_unreadable_parameter_says_why(parameters: pathlib.Path) -> None:
    (parameters / "sev").mkdir()
    parameter = host.read_kvm_parameter("sev")
    assert parameter.text is None
    assert parameter.error == "Is a directory"


def test_bytes_that_are_no_text_are_still_read(parameters: pathlib.Path) -> None:
    (parameters / "sev").write_bytes(b"\xff\x00Y")
    assert not host.read_kvm_parameter("sev").enabled


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_libvirt_is_asked_once(parameters: pathlib.Path, virt_type: str) -> None:
    connection = Libvirt(CAPABILITIES)
    facts = host.Reader(virt_type, "x86_64").read(connection)
    assert facts.domain is not None and facts.domain.max_guests == 15
    assert connection.asked == [(None, "x86_64", "q35", virt_type, 0)]


@pytest.mark.parametrize(("virt_type", "arch"), [("lxc", "x86_64"), ("kvm", "aarch64")])
def test_libvirt_is_not_asked_in_vain(
    parameters: pathlib.Path, virt_type: str, arch: str
) -> None:
    connection = Libvirt(CAPABILITIES)
    assert host.Reader(virt_type, arch).read(connection).domain is None
    assert connection.asked == []


@pytest.mark.parametrize(
    "answer", [libvirt.libvirtError("connection lost"), "<nonsense/>", ""]
)
def test_what_libvirt_cannot_tell_is_told(
    parameters: pathlib.Path, answer: str | Exception
) -> None:
    facts = host.Reader("kvm", "x86_64").read(Libvirt(answer))
    assert facts.domain is None
    assert facts.domain_error


def test_a_libvirt_error_is_a_detection_error() -> None:
    with pytest.raises(DetectionError, match="connection lost"):
        host.read_domain_capabilities(
            Libvirt(libvirt.libvirtError("connection lost")), "kvm"
        )


def test_the_host_is_read_anew_when_it_can_have_changed(
    parameters: pathlib.Path,
) -> None:
    (parameters / "sev").write_text("Y\n")
    reader, connection = host.Reader("kvm", "x86_64"), Libvirt(CAPABILITIES)
    assert reader.read(connection) is reader.read(connection)
    assert len(connection.asked) == 1
    (parameters / "sev").write_text("N\n")
    assert not reader.read(connection).sev_parameter.enabled
    assert len(connection.asked) == 2
    restarted = Libvirt("<domainCapabilities/>")
    assert reader.read(restarted).domain == DomainCapabilities(sev=False)


def test_what_could_not_be_read_is_read_again(parameters: pathlib.Path) -> None:
    reader = host.Reader("kvm", "x86_64")
    connection = Libvirt(libvirt.libvirtError("busy"))
    assert reader.read(connection).domain is None
    connection.answer = CAPABILITIES
    assert reader.read(connection).domain is not None
