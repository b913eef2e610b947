# SPDX-License-Identifier: Apache-2.0

"""What libvirt has told Nova is not asked again, and is no older than it may be."""

import types

import libvirt
import pytest

from sev_driver.exceptions import DetectionError
from sev_driver.host.libvirt_connection import LibvirtClient, LibvirtReplyCache

DOCUMENT = "<domainCapabilities><path>{}</path></domainCapabilities>"


class Connection:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def getDomainCapabilities(
        self,
        emulator: str | None = None,
        arch: str | None = None,
        machine: str | None = None,
        virt_type: str | None = None,
        flags: int = 0,
    ) -> str:
        self.asked.append("capabilities")
        if virt_type == "xen":
            raise libvirt.libvirtError("no")
        return DOCUMENT.format(f"{arch} {machine} {virt_type}")

    def getLibVersion(self) -> int:
        self.asked.append("libvirt")
        return 11_003_000

    def getVersion(self) -> int:
        self.asked.append("qemu")
        return 10_000_002


def nova_host(*connections: Connection) -> types.SimpleNamespace:
    """Nova's Host, which gets these connections one after the other."""
    left = list(connections)
    result = types.SimpleNamespace(get_connection=lambda: left[0], left=left)
    LibvirtReplyCache.install(result)
    return result


@pytest.mark.parametrize("machine", ["q35", "pc-q35-7.2"])
def test_what_nova_asked_is_not_asked_again(machine: str) -> None:
    connection = Connection()
    held = nova_host(connection).get_connection()
    held.getDomainCapabilities("/usr/bin/qemu", "x86_64", machine, "kvm")
    LibvirtClient(held).domain_capabilities("kvm")
    assert connection.asked == ["capabilities"]


@pytest.mark.parametrize(
    "question",
    [
        (None, "x86_64", "pc", "kvm"),
        (None, "i686", "q35", "kvm"),
        (None, "x86_64", None, "kvm"),
        (None, "x86_64", "q35", "qemu"),
    ],
    ids=["machine", "arch", "no-machine", "virt-type"],
)
def test_another_question_has_another_answer(question: tuple[str, ...]) -> None:
    connection = Connection()
    held = nova_host(connection).get_connection()
    held.getDomainCapabilities(*question)
    LibvirtClient(held).domain_capabilities("kvm")
    assert connection.asked == ["capabilities"] * 2


def test_who_looks_again_asks_again() -> None:
    connection = Connection()
    held = nova_host(connection).get_connection()
    held.getDomainCapabilities(None, "x86_64", "q35", "kvm", 0)
    for _ in range(2):
        LibvirtClient(held).domain_capabilities("kvm")
    assert connection.asked == ["capabilities"] * 2


def test_a_new_connection_knows_nothing_of_the_old_one() -> None:
    old, new = Connection(), Connection()
    nova = nova_host(old, new)
    nova.get_connection().getDomainCapabilities(None, "x86_64", "q35", "kvm", 0)
    del nova.left[0]
    LibvirtClient(nova.get_connection()).domain_capabilities("kvm")
    assert new.asked == ["capabilities"]


def test_versions_are_those_that_nova_was_told() -> None:
    connection = Connection()
    held = nova_host(connection).get_connection()
    told = held.getLibVersion(), held.getVersion()
    assert told == (11_003_000, 10_000_002)
    assert LibvirtClient(held).versions() == ((11, 3, 0), (10, 0, 2))
    assert connection.asked == ["libvirt", "qemu"]


def test_a_connection_is_prepared_once() -> None:
    connection = Connection()
    nova = nova_host(connection)
    for _ in range(3):
        nova.get_connection().getLibVersion()
    assert connection.asked == ["libvirt"] * 3


def test_a_refused_question_leaves_no_answer() -> None:
    held = nova_host(Connection()).get_connection()
    with pytest.raises(libvirt.libvirtError):
        held.getDomainCapabilities(None, "x86_64", "q35", "xen", 0)
    with pytest.raises(DetectionError):
        LibvirtClient(held).domain_capabilities("xen")


def test_a_connection_of_ones_own_keeps_nothing() -> None:
    connection = Connection()
    assert LibvirtReplyCache.on(connection) is None
    LibvirtClient(connection).versions()
    assert connection.asked == ["libvirt", "qemu"]
