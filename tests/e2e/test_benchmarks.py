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
"""The benchmarks run, and what they count is exact: calls, of libvirt and Placement.

No time is looked at.
"""

from collections.abc import Iterator

import pytest

from benchmarks import measures
from benchmarks.creates import Site
from benchmarks.samples import Series
from benchmarks.sizes import QUICK


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    with Site(tmp_path_factory.mktemp("site"), "ours") as site:
        yield {"ours": site}


def calls(found: list[Series]) -> list[Series]:
    counted = [one for one in found if one.unit == "calls"]
    assert counted
    return counted


def test_a_start_asks_libvirt_no_more_than_stock_nova_does(
    sites: dict[str, Site],
) -> None:
    found = calls(list(measures.start(sites, QUICK)))
    assert {one.case for one in found} == {"with SEV", "without SEV"}
    for one in found:
        assert 0 < one.ours[0] <= one.stock[0], one


def test_a_guests_xml_asks_libvirt_no_more_than_stock_nova_does(
    sites: dict[str, Site],
) -> None:
    for one in calls(list(measures.guest_xml(sites, QUICK))):
        assert 0 < one.ours[0] <= one.stock[0], one


def test_no_call_for_a_domain_in_an_update(sites: dict[str, Site]) -> None:
    found = calls(list(measures.update(sites, QUICK)))
    libvirt = [one for one in found if one.case == "update_provider_tree"]
    assert [one.size for one in libvirt] == list(QUICK.domains)
    few, many = (one.ours[0] for one in libvirt)
    assert few == many > 0
    # One for the list of those that run, one by which Nova gets its connection.
    assert all(one.ours[0] <= one.stock[0] + 2 for one in libvirt)
    asked = {one.case: one.ours[0] for one in found if "Placement" in one.case}
    # Once for the one provider that has slots, however many guests hold them.
    assert asked.pop("update_provider_tree, 10 more encrypted, Placement") == 1
    assert set(asked.values()) == {0}, "no encrypted guest runs"


def test_the_rest_of_the_benchmarks_runs(sites: dict[str, Site]) -> None:
    found = [
        *measures.processes(sites, QUICK),
        *measures.candidates(sites, QUICK),
    ]
    assert all(one.stock and one.ours for one in found)
    assert sites["ours"].create("encrypted", 1) > 0
