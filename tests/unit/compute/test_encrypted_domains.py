# SPDX-License-Identifier: Apache-2.0


import libvirt
import pytest

from sev_driver.compute.unmanaged_guests import EncryptedDomains
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
ENCRYPTED = (
    "<domain><launchSecurity type='sev'><policy>3</policy></launchSecurity></domain>"
)
PLAIN = "<domain/>"


class CountingHost:
    """Domains by uuid, and how often libvirt's server was asked for anything."""

    def __init__(self, **domains: str) -> None:
        self.calls = self.lists = self._number = 0
        self.domains: dict[str, Domain] = {}
        for uuid, xml in domains.items():
            self.start(uuid, xml)
        self.reconnect()

    def start(self, uuid: str, xml: str) -> "Domain":
        self._number += 1
        self.domains[uuid] = Domain(self, uuid, xml, self._number)
        return self.domains[uuid]

    def reconnect(self) -> None:
        """Have a new connection, as after a restart of libvirtd."""
        self._wrapped_conn = Connection(self)

    def list_instance_domains(self, only_running: bool) -> list["Domain"]:
        assert only_running
        if self._wrapped_conn.is_lost:
            self.reconnect()
        self.calls += 1
        self.lists += 1
        return list(self.domains.values())


class Connection:
    def __init__(self, host: CountingHost) -> None:
        self._host = host
        self.is_lost = False

    def listDomainsID(self) -> list[int]:
        if self.is_lost:
            raise libvirt.libvirtError("no")
        self._host.calls += 1
        return [domain.number for domain in self._host.domains.values()]


class Domain:
    def __init__(self, host: CountingHost, uuid: str, xml: str, number: int) -> None:
        self.host, self.uuid, self.xml = host, uuid, xml
        self.number = number
        self.error: int | None = None

    # These two are no calls: libvirt's client knows them of the list.
    def UUIDString(self) -> str:
        return self.uuid

    def ID(self) -> int:
        return self.number

    def XMLDesc(self, flags: int) -> str:
        self.host.calls += 1
        if self.error is not None:
            error = libvirt.libvirtError("no")
            error.err = (self.error, *[None] * 8)
            raise error
        return self.xml


@pytest.mark.parametrize("number", [0, 50, 500])
def test_one_call_and_no_list_of_domains_however_many_run(number: int) -> None:
    xmls = (PLAIN, ENCRYPTED)
    host = CountingHost(**{f"guest-{n}": xmls[n % 2] for n in range(number)})
    guests = EncryptedDomains(host)
    assert len(guests.list()) == number // 2
    host.calls = host.lists = 0
    for _ in range(10):
        assert len(guests.list()) == number // 2
    assert (host.calls, host.lists) == (10, 0)


def test_domains_are_listed_only_for_an_id_that_is_new() -> None:
    host = CountingHost(a=PLAIN, b=ENCRYPTED)
    guests = EncryptedDomains(host)
    guests.list()
    host.calls = host.lists = 0
    host.start("c", ENCRYPTED)
    assert guests.list() == {("b", 2): SEV, ("c", 3): SEV}
    # The ids, the list, and the XML of the new one.
    assert (host.calls, host.lists) == (3, 1)
    del host.domains["a"], host.domains["b"]
    assert guests.list() == {("c", 3): SEV}
    assert (host.calls, host.lists) == (4, 1)


def test_a_domain_is_read_anew_in_each_run() -> None:
    host = CountingHost(a=PLAIN, b=ENCRYPTED)
    guests = EncryptedDomains(host)
    assert guests.list() == {("b", 2): SEV}
    host.start("a", ENCRYPTED)
    assert guests.list() == {("b", 2): SEV, ("a", 3): SEV}
    del host.domains["b"]
    assert guests.list() == {("a", 3): SEV}


def test_a_new_connection_knows_no_id_of_the_last() -> None:
    host = CountingHost(a=PLAIN)
    guests = EncryptedDomains(host)
    assert guests.list() == {}
    # The machine has started again, and libvirt counts from the beginning.
    host.domains["a"].xml = ENCRYPTED
    host.reconnect()
    assert guests.list() == {("a", 1): SEV}


def test_a_connection_that_is_lost_is_made_again() -> None:
    host = CountingHost(a=PLAIN)
    guests = EncryptedDomains(host)
    assert guests.list() == {}
    host.domains["a"].xml = ENCRYPTED
    host._wrapped_conn.is_lost = True
    assert guests.list() == {("a", 1): SEV}
    host.calls = 0
    assert guests.list() == {("a", 1): SEV}
    assert host.calls == 1


def test_a_domain_that_ends_while_it_is_looked_at_is_none() -> None:
    host = CountingHost(a=ENCRYPTED)
    host.domains["a"].error = libvirt.VIR_ERR_NO_DOMAIN
    assert EncryptedDomains(host).list() == {}


@pytest.mark.parametrize("xml", [ENCRYPTED, "<domain"])
def test_what_cannot_be_read_is_read_again(
    xml: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = CountingHost(a=xml)
    domain = host.domains["a"]
    domain.error = libvirt.VIR_ERR_INTERNAL_ERROR if xml == ENCRYPTED else None
    guests = EncryptedDomains(host)
    assert guests.list() == {}
    assert "Cannot determine whether domain a uses" in caplog.text
    domain.error, domain.xml = None, ENCRYPTED
    assert guests.list() == {("a", 1): SEV}
