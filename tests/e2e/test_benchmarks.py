# SPDX-License-Identifier: Apache-2.0
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
    # One for the ids of those that run.
    assert all(one.ours[0] <= one.stock[0] + 1 for one in libvirt)
    asked = {one.case: one.ours[0] for one in found if "Placement" in one.case}
    assert set(asked.values()) == {0}, "nothing has changed"
    hour = {one.case: one.ours[0] for one in found if one.bench == "Placement"}
    assert hour["queries of the driver in a quiet hour, 100 encrypted"] <= 6


def test_the_rest_of_the_benchmarks_runs(sites: dict[str, Site]) -> None:
    found = [
        *measures.processes(sites, QUICK),
        *measures.candidates(sites, QUICK),
    ]
    assert all(one.stock and one.ours for one in found)
    assert sites["ours"].create("encrypted", 1) > 0
