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


import libvirt
import pytest

from sev_driver.model import MemoryEncryptionModel
from sev_driver.running import RunningGuests

SEV = MemoryEncryptionModel.AMD_SEV
ENCRYPTED = (
    "<domain><launchSecurity type='sev'><policy>3</policy></launchSecurity></domain>"
)
PLAIN = "<domain/>"


class CountingHost:
    """Domains by uuid, and how often libvirt's server was asked for anything."""

    def __init__(self, **domains: str) -> None:
        self.domains = {uuid: Domain(self, uuid, xml) for uuid, xml in domains.items()}
        self.calls = 0

    def list_instance_domains(self, only_running: bool) -> list["Domain"]:
        assert only_running
        self.calls += 1
        return list(self.domains.values())


class Domain:
    def __init__(self, host: CountingHost, uuid: str, xml: str) -> None:
        self.host, self.uuid, self.xml = host, uuid, xml
        self.number = 1
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
def test_one_call_however_many_run(number: int) -> None:
    xmls = (PLAIN, ENCRYPTED)
    host = CountingHost(**{f"guest-{n}": xmls[n % 2] for n in range(number)})
    guests = RunningGuests(host)
    assert len(guests.look()) == number // 2
    host.calls = 0
    for _ in range(10):
        assert len(guests.look()) == number // 2
    assert host.calls == 10


def test_a_domain_is_read_anew_in_each_run() -> None:
    host = CountingHost(a=PLAIN, b=ENCRYPTED)
    guests = RunningGuests(host)
    assert guests.look() == {("b", 1): SEV}
    host.domains["a"].xml, host.domains["a"].number = ENCRYPTED, 2
    assert guests.look() == {("b", 1): SEV, ("a", 2): SEV}
    del host.domains["b"]
    assert guests.look() == {("a", 2): SEV}


def test_a_domain_that_ends_while_it_is_looked_at_is_none() -> None:
    host = CountingHost(a=ENCRYPTED)
    host.domains["a"].error = libvirt.VIR_ERR_NO_DOMAIN
    assert RunningGuests(host).look() == {}


@pytest.mark.parametrize("xml", [ENCRYPTED, "<domain"])
def test_what_cannot_be_read_is_read_again(
    xml: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = CountingHost(a=xml)
    domain = host.domains["a"]
    domain.error = libvirt.VIR_ERR_INTERNAL_ERROR if xml == ENCRYPTED else None
    guests = RunningGuests(host)
    assert guests.look() == {}
    assert "Whether domain a is encrypted cannot be told" in caplog.text
    domain.error, domain.xml = None, ENCRYPTED
    assert guests.look() == {("a", 1): SEV}
