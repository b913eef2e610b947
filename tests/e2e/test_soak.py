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


def test_a_server_whose_slot_is_gone_is_noticed(cloud: SoakCloud, soak: Soak) -> None:
    assert soak.requests.do([Request(Action.CREATE, "es")]) == []
    (uuid,) = soak.requests.states
    cloud.connection.placement.delete(f"/allocations/{uuid}")
    soak.agree_timeout = 0

    with pytest.raises(SoakError) as found:
        soak.settle("planted")

    assert "es-1 has no slot in Placement" in str(found.value)
    # The driver reserves what a guest has that Placement does not know.
    assert "1 slots of es reserved, 0 strangers run" in str(found.value)
    soak.agree_timeout = AGREE_TIMEOUT


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
