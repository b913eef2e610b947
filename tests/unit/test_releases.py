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

"""releases: which Nova this driver works with."""

import importlib.metadata
import threading
from collections.abc import Callable, Iterator

import libvirt
import pytest
from nova.virt.libvirt import host as nova_host

from sev_driver import releases
from sev_driver.exceptions import ConfigurationError
from sev_driver.model import MemoryEncryptionModel


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    yield
    releases.nova_release.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    releases.nova_release.cache_clear()


@pytest.mark.parametrize("version", ["27.0.0", "34.1.2", "35.0.0.0rc1", "27.5.1.dev7"])
def test_this_nova_will_do(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    installed(monkeypatch, version)
    releases.check_nova()


@pytest.mark.parametrize("version", ["20.6.1", "26.3.0"])
def test_an_older_nova_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    installed(monkeypatch, version)
    with pytest.raises(ConfigurationError, match=f"this is Nova {version}"):
        releases.check_nova()


class ClosedConnection:
    """One whose next use finds that libvirtd is gone, and calls back at once."""

    def __init__(self, host: nova_host.Host) -> None:
        self.host = host

    def getLibVersion(self) -> int:
        self.host._connection_closed(self, False, "end of file")
        error = libvirt.libvirtError("client socket is closed")
        error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, *[None] * 7)
        raise error


@pytest.mark.skipif(
    not hasattr(nova_host.Host, "_connection_closed"),
    reason="this Nova's callback only queues the event",
)
def test_a_connection_that_closes_under_novas_eyes_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = nova_host.Host("qemu:///system")
    releases.mend_reconnection(host)
    host._wrapped_conn = ClosedConnection(host)
    monkeypatch.setattr(host, "_get_new_connection", lambda: "a new one")
    found: list[object] = []
    look = threading.Thread(
        target=lambda: found.append(host._get_connection()), daemon=True
    )

    look.start()
    look.join(5)

    assert found == ["a new one"]


def loader(name: str, *features: str, template: bool = True) -> dict[str, object]:
    """A firmware descriptor, as Nova 32 and older reads them."""
    mapping: dict[str, object] = {"executable": {"filename": name}}
    if template:
        mapping["nvram-template"] = {"filename": f"{name}.vars"}
    target = {"architecture": "x86_64", "machines": ["pc-q35-*"]}
    return {"mapping": mapping, "targets": [target], "features": list(features)}


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[object]], str]:
    """Return Nova's choice among descriptors."""
    if not hasattr(nova_host.Host, "get_loader"):
        pytest.skip("in this Nova, libvirt selects the firmware")
    host = nova_host.Host("qemu:///system")
    monkeypatch.setattr(host, "get_canonical_machine_type", lambda *args: "pc-q35-9.1")
    releases.mend_firmware_choice(host)

    def choice(loaders: list[object]) -> str:
        monkeypatch.setattr(host, "_loaders", loaders)
        return str(host.get_loader("x86_64", "q35", has_secure_boot=False)[0])

    return choice


DESCRIPTORS = [
    loader("sev-alone.fd", "amd-sev", template=False),
    loader("secure.fd", "secure-boot", "requires-smm", "amd-sev"),
    loader("plain.fd"),
    loader("fit.fd", "amd-sev"),
]


def test_nova_chooses_a_firmware_that_says_it_is_for_sev(
    choose: Callable[[list[object]], str],
) -> None:
    with releases.firmware_for(MemoryEncryptionModel.AMD_SEV):
        assert choose(list(DESCRIPTORS)) == "fit.fd"


def test_where_none_says_so_it_chooses_as_ever(
    choose: Callable[[list[object]], str],
) -> None:
    with releases.firmware_for(MemoryEncryptionModel.AMD_SEV):
        assert choose(DESCRIPTORS[:3]) == "plain.fd"


def test_a_plain_guests_firmware_is_novas_choice(
    choose: Callable[[list[object]], str],
) -> None:
    assert choose(DESCRIPTORS[1:]) == "plain.fd"


def test_nova_names_no_firmware_for_the_other_generations(
    choose: Callable[[list[object]], str],
) -> None:
    with releases.firmware_for(MemoryEncryptionModel.AMD_SEV_SNP):
        assert choose([]) == ""
