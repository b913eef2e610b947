# SPDX-License-Identifier: Apache-2.0
"""What is told of the benchmarks is what was measured."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.samples import Series, interleave

SERIES = Series("bench", "case", 4, "devices", "s", 1.10, [1.0, 2.0, 1.0], [1.1, 2, 3])
DOCS = Path(__file__).parents[2] / "doc/source/admin/performance.rst"


def test_a_ratio_is_of_two_that_were_measured_one_after_the_other() -> None:
    assert SERIES.ratios == [1.1, 1.0, 3.0]
    assert SERIES.ratio == 1.1
    assert SERIES.spread == (1.0, 3.0)


@pytest.mark.parametrize(
    ("ours", "bound", "kept"),
    [(1.10, 1.10, True), (1.104, 1.10, True), (1.12, 1.10, False), (9, None, None)],
)
def test_a_bound_is_kept_or_not(
    ours: float, bound: float | None, kept: bool | None
) -> None:
    assert Series("b", "c", 1, "x", "s", bound, [1.0], [ours]).kept is kept


def test_both_go_first_in_turn() -> None:
    order: list[str] = []

    def work(name: str) -> float:
        order.append(name)
        return float(len(order))

    names = ("stock", "ours")
    values = interleave({n: lambda n=n: work(n) for n in names}, 2)  # type: ignore[misc]
    assert order == ["stock", "ours", "ours", "stock"]
    assert values == {"stock": [1.0, 4.0], "ours": [2.0, 3.0]}


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    about = report.machine("shared")
    report.write(tmp_path, about, [SERIES])
    assert report.read(tmp_path) == (about, [SERIES])


def test_a_kernel_is_known_by_its_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.release", lambda: "6.12.9-some-build")
    assert report.machine("shared")["kernel"] == "6.12.9"
    kept, _ = report.read(report.RESULTS)
    assert kept["kernel"].replace(".", "").isdigit()


def test_a_table_marks_what_is_over() -> None:
    over = dataclasses.replace(SERIES, ours=[2.0, 4.0, 2.0])
    text = report.table(report.machine("shared"), [SERIES, over])
    (line,) = (line for line in text.splitlines() if "over" in line)
    assert "2.00 **over**" in line
    assert "on 2 cores, shared" in report.table(
        report.machine("shared") | {"cores": 2}, [SERIES]
    )


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks import plot

    small = dataclasses.replace(SERIES, size=1)
    plot.draw([small, SERIES], tmp_path / "ratios.svg")
    assert "devices" in (tmp_path / "ratios.svg").read_text()


def test_same_guests_have_the_same_colour_in_each_picture() -> None:
    pytest.importorskip("matplotlib")
    from benchmarks import plot

    xml = plot.colours_of(["plain", "encrypted", "encrypted, with its check"])
    create = plot.colours_of(["encrypted, to ACTIVE", "plain, to ACTIVE"])
    assert xml["plain"] == create["plain, to ACTIVE"]
    assert xml["encrypted"] == create["encrypted, to ACTIVE"]
    assert len(set(xml.values())) == 3
    # No curve is left out, however many there are.
    assert len(plot.colours_of(str(number) for number in range(9))) == 9


def test_the_table_shows_the_results_that_are_kept() -> None:
    about, found = report.read(report.RESULTS)
    assert (report.RESULTS / "table.rst").read_text() == report.table(about, found)
