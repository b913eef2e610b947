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
from collections.abc import Iterator

import libvirt
import pytest
from nova.virt.libvirt import host as nova_host

from sev_driver import releases
from sev_driver.exceptions import ConfigurationError


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
