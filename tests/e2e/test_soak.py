# SPDX-License-Identifier: Apache-2.0
"""A minute of the soak, in a real cloud, and what it says when something is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud.simhost import userland
from soak import growth, processes
from soak.chance import Action, Chance, Request
from soak.cloud import DISTRIBUTION, SoakCloud, SoakError
from soak.rounds import AGREE_TIMEOUT, Soak

CREATES = 6
UPDATES = 100

pytestmark = pytest.mark.skipif(
    not userland.is_here(DISTRIBUTION), reason="needs make setup-trixie"
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoakCloud]:
    with SoakCloud(tmp_path_factory.mktemp("soak")) as fixture:
        yield fixture


@pytest.fixture
def soak(cloud: SoakCloud) -> Iterator[Soak]:
    soak = Soak(cloud, Chance(7), print)
    yield soak
    soak.clear()
    soak.close()


def test_all_who_count_agree_after_each_settle(soak: Soak) -> None:
    soak.run(lambda: soak.counts.creates >= CREATES)

    assert soak.counts.settles > 1
    assert soak.counts.deletes > 0
    assert sum(soak.counts.most.values()) > 0


def test_all_who_count_agree_once_a_lost_slot_is_back(
    cloud: SoakCloud, soak: Soak
) -> None:
    assert soak.requests.do([Request(Action.CREATE, "es")]) == []
    (uuid,) = soak.requests.states
    allocations = f"/allocations/{uuid}"
    cloud.connection.placement.delete(allocations)

    soak.settle("planted")

    assert cloud.connection.placement.get(allocations).json()["allocations"]


def test_a_guest_that_ended_behind_novas_back_is_noticed(
    cloud: SoakCloud, soak: Soak
) -> None:
    assert soak.requests.do([Request(Action.CREATE, "snp")]) == []
    soak.agree_timeout = 0
    for host in cloud.hosts.values():
        with host.libvirt() as connection:
            for domain in connection.listAllDomains():
                domain.destroy()

    with pytest.raises(SoakError, match=r"snp-1 does not run in libvirt|should be act"):
        soak.settle("planted")
    soak.agree_timeout = AGREE_TIMEOUT


def test_what_nova_compute_holds_can_be_read(cloud: SoakCloud) -> None:
    for name in cloud.hosts:
        holding = processes.of_nova_compute(cloud.cloud.layout, name)
        assert holding.resident > 50
        assert holding.files > 10


def test_updates_leave_nothing_behind(tmp_path: Path) -> None:
    """Of make soak's ten thousand these are few: what is kept of each shows still."""
    with growth.Site(tmp_path) as site:
        points = list(growth.measure(site, UPDATES))

    assert [point["updates"] for point in points][-1] == UPDATES
    assert growth.complaints(points) == []
