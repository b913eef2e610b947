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


import pathlib
from collections.abc import Iterable

import pytest
from test_running import ENCRYPTED, CountingHost

from sev_driver import kernel
from sev_driver.ledger import Ledger
from sev_driver.model import MemoryEncryptionModel
from sev_driver.strangers import Strangers

SEV = MemoryEncryptionModel.AMD_SEV


class KnownLedger(Ledger):
    """One whose answers are given, and which counts the questions."""

    def __init__(self) -> None:
        self.migrations: dict[str, str] = {}
        self.novas: set[str] = set()
        self.asked = 0

    def moving(self, holders: Iterable[str]) -> dict[str, str]:  # type: ignore[override]
        self.asked += 1
        return {
            uuid: self.migrations[uuid] for uuid in holders if uuid in self.migrations
        }

    def instances(self, uuids: Iterable[str]) -> frozenset[str]:  # type: ignore[override]
        self.asked += 1
        return self.novas & frozenset(uuids)


@pytest.fixture(autouse=True)
def misc(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """What the kernel counts; a file that is not there yet."""
    monkeypatch.setattr(kernel, "CONTROL_GROUPS", (tmp_path,))
    return tmp_path / "misc.current"


@pytest.fixture
def ledger() -> KnownLedger:
    return KnownLedger()


def count(strangers: Strangers, *holders: str) -> int:
    return strangers.count(lambda model: frozenset(holders)).get(SEV, 0)


def test_a_guest_with_an_allocation_is_none(ledger: KnownLedger) -> None:
    strangers = Strangers(CountingHost(a=ENCRYPTED), ledger)
    assert count(strangers, "a", "stopped") == 0
    assert ledger.asked == 0


@pytest.mark.parametrize("number", [0, 50, 500])
def test_each_is_looked_up_once(number: int, ledger: KnownLedger) -> None:
    host = CountingHost(**{f"guest-{n}": ENCRYPTED for n in range(number)})
    strangers = Strangers(host, ledger)
    assert count(strangers, "stopped") == number
    host.calls = ledger.asked = 0
    for _ in range(10):
        assert count(strangers, "stopped") == number
    assert (host.calls, ledger.asked) == (10, 0)


def test_what_its_migration_holds_is_no_slot_more(ledger: KnownLedger) -> None:
    ledger.migrations = {"migration": "a", "another": "b"}
    strangers = Strangers(CountingHost(a=ENCRYPTED, c=ENCRYPTED), ledger)
    assert count(strangers, "migration", "another") == 1
    # The migration is over, and the guest still runs.
    assert count(strangers, "another") == 2


def test_a_guest_that_ended_since_is_none(ledger: KnownLedger) -> None:
    host = CountingHost(a=ENCRYPTED)

    def ended(model: MemoryEncryptionModel) -> frozenset[str]:
        host.domains.clear()
        return frozenset()

    assert Strangers(host, ledger).count(ended) == {}


def test_it_is_told_once_whose_they_are(
    ledger: KnownLedger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ledger.novas = {"a"}
    strangers = Strangers(CountingHost(a=ENCRYPTED, b=ENCRYPTED), ledger)
    for _ in range(3):
        count(strangers)
    assert caplog.text.count("Server a runs encrypted and holds a slot") == 1
    assert caplog.text.count("Domain b runs encrypted and is not Nova's") == 1


def test_guests_that_libvirt_does_not_run_count_too(
    ledger: KnownLedger, misc: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    misc.write_text("sev 3\nsev_es 0\n")
    strangers = Strangers(CountingHost(a=ENCRYPTED, b=ENCRYPTED), ledger)
    assert count(strangers, "a") == 2
    assert count(strangers, "a") == 2
    assert caplog.text.count("the kernel counts 1 of AMD SEV, and 0 of") == 1
    misc.write_text("sev 2\nsev_es 0\n")
    assert count(strangers, "a") == 1
