# SPDX-License-Identifier: Apache-2.0
"""doc/: the tables that are computed when the manual is built."""

from types import ModuleType

import pytest
from installations import ROOT


@pytest.fixture
def capacity(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "doc"))
    import capacity

    return capacity


def test_the_servers_have_the_slots_of_the_recorded_hosts(capacity: ModuleType) -> None:
    recorded = {
        "EPYC 7001": ("naples-ubuntu-22.04", "<maxGuests>15<"),
        "EPYC 7003": ("rome-debian-11-root", "000001fd"),
        "EPYC 9005": ("genoa-no-es-slots", "<maxGuests>1006<"),
    }
    for server in capacity.SERVERS:
        name, text = recorded[server.name]
        assert text in (ROOT / f"tests/data/hosts/{name}.toml").read_text()


def test_the_size_at_the_turn_is_where_both_run_out(capacity: ModuleType) -> None:
    for server in capacity.SERVERS:
        turning = server.turning_mib
        assert server.fits(turning) == server.slots
        assert server.fits(turning + 64) < server.slots


def test_what_the_text_says_is_what_is_computed(capacity: ModuleType) -> None:
    """The example of nova.conf in capacity.rst is written by hand."""
    text = (ROOT / "doc/source/admin/capacity.rst").read_text()
    (row,) = (row for row in capacity.option_rows() if row[0] == "EPYC 7003")
    assert f"num_memory_encrypted_guests = {row[1]}\n" in text
    assert f"reserved_host_memory_mb = {row[2].split()[0]}\n" in text


def test_the_table_says_what_runs_out(capacity: ModuleType) -> None:
    head, *rows = capacity.guest_rows()
    cells = {(row[0], name): row[i] for row in rows for i, name in enumerate(head)}
    assert cells["2 GiB", "EPYC 7001"] == "15, slots"
    assert cells["2 GiB", "EPYC 7003"] == "451 (500), memory"
    assert cells["64 GiB", "EPYC 7001"] == "3, memory"
