# SPDX-License-Identifier: Apache-2.0


import pathlib
from collections.abc import Iterable, Mapping

import pytest
from test_encrypted_domains import ENCRYPTED, CountingHost

from sev_driver.compute.slot_consumers import PlacementQueries
from sev_driver.compute.unmanaged_guests import UnmanagedGuests
from sev_driver.host import kernel
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV


class KnownPlacement(PlacementQueries):
    """One whose answers are given, and which counts the questions."""

    def __init__(self) -> None:
        self.moves: dict[str, str] = {}
        self.novas: set[str] = set()
        self.asked = 0

    def migrations(self, consumers: Iterable[str]) -> dict[str, str]:  # type: ignore[override]
        self.asked += 1
        return {uuid: self.moves[uuid] for uuid in consumers if uuid in self.moves}

    def known_instances(self, uuids: Iterable[str]) -> frozenset[str]:  # type: ignore[override]
        self.asked += 1
        return self.novas & frozenset(uuids)


@pytest.fixture(autouse=True)
def misc(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """What the kernel counts; a file that is not there yet."""
    monkeypatch.setattr(kernel, "CONTROL_GROUPS", (tmp_path,))
    return tmp_path / "misc.current"


@pytest.fixture
def placement() -> KnownPlacement:
    return KnownPlacement()


def count(strangers: UnmanagedGuests, *holders: str) -> int:
    counted = strangers.count_by_model(
        strangers.observe(), lambda model: frozenset(holders), no_room
    )
    return counted.get(SEV, 0)


def no_room(lost: Mapping[str, MemoryEncryptionModel]) -> frozenset[str]:
    """Put back no allocation."""
    return frozenset()


def test_a_guest_with_an_allocation_is_none(placement: KnownPlacement) -> None:
    strangers = UnmanagedGuests(CountingHost(a=ENCRYPTED), placement)
    assert count(strangers, "a", "stopped") == 0
    assert placement.asked == 0


@pytest.mark.parametrize("number", [0, 50, 500])
def test_each_is_looked_up_once(number: int, placement: KnownPlacement) -> None:
    host = CountingHost(**{f"guest-{n}": ENCRYPTED for n in range(number)})
    strangers = UnmanagedGuests(host, placement)
    assert count(strangers, "stopped") == number
    host.calls = placement.asked = 0
    for _ in range(10):
        assert count(strangers, "stopped") == number
    assert (host.calls, placement.asked) == (10, 0)


def test_what_its_migration_holds_is_no_slot_more(placement: KnownPlacement) -> None:
    placement.moves = {"migration": "a", "another": "b"}
    strangers = UnmanagedGuests(CountingHost(a=ENCRYPTED, c=ENCRYPTED), placement)
    assert count(strangers, "migration", "another") == 1
    # The migration is over, and the guest still runs.
    assert count(strangers, "another") == 2


def test_a_guest_that_ended_since_is_none(placement: KnownPlacement) -> None:
    host = CountingHost(a=ENCRYPTED)

    def ended(model: MemoryEncryptionModel) -> frozenset[str]:
        host.domains.clear()
        return frozenset()

    guests = UnmanagedGuests(host, placement)
    assert guests.count_by_model(guests.observe(), ended, no_room) == {}


def test_it_is_told_once_whose_they_are(
    placement: KnownPlacement, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    placement.novas = {"a"}
    strangers = UnmanagedGuests(CountingHost(a=ENCRYPTED, b=ENCRYPTED), placement)
    for _ in range(3):
        count(strangers)
    assert "Domain a" not in caplog.text
    assert caplog.text.count("Domain b uses memory encryption but is not managed") == 1


def test_allocations_of_servers_are_put_back_until_they_are_there(
    placement: KnownPlacement,
) -> None:
    placement.novas = {"a", "b"}
    host = CountingHost(a=ENCRYPTED, b=ENCRYPTED, strangers=ENCRYPTED)
    guests = UnmanagedGuests(host, placement)
    asked: list[dict[str, MemoryEncryptionModel]] = []
    room: set[str] = set()
    holders: set[str] = set()

    def restore(lost: Mapping[str, MemoryEncryptionModel]) -> set[str]:
        asked.append(dict(lost))
        holders.update(room)
        return room & lost.keys()

    def counted() -> int:
        return guests.count_by_model(
            guests.observe(), lambda model: frozenset(holders), restore
        )[SEV]

    both = {"a": SEV, "b": SEV}
    assert (counted(), counted()) == (3, 3)
    assert asked == [both, both]
    room.add("a")
    assert (counted(), counted()) == (2, 2)
    assert asked[2:] == [both, {"b": SEV}]
    room.add("b")
    assert (counted(), counted()) == (1, 1)
    assert len(asked) == 5
    # Lost once more.
    holders.clear()
    assert counted() == 1
    assert asked[5:] == [both]


def test_guests_that_libvirt_does_not_run_count_too(
    placement: KnownPlacement, misc: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    misc.write_text("sev 3\nsev_es 0\n")
    strangers = UnmanagedGuests(CountingHost(a=ENCRYPTED, b=ENCRYPTED), placement)
    assert count(strangers, "a") == 2
    assert count(strangers, "a") == 2
    assert caplog.text.count("1 of AMD SEV, 0 of AMD SEV-ES") == 1
    misc.write_text("sev 2\nsev_es 0\n")
    assert count(strangers, "a") == 1
