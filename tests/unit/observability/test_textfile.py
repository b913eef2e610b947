# SPDX-License-Identifier: Apache-2.0


"""textfile: metrics in, a file that Prometheus' own parser reads out."""

import pathlib
import sys

import pytest

from sev_driver.observability import textfile
from sev_driver.observability.metrics import Metric, Sample

METRICS = (
    Metric("sev_driver_slots", "Slots.", ("state",), (Sample(("used",), 3),)),
    Metric("sev_driver_refusals_total", 'A "reason".', (), (Sample((), 2),)),
)


@pytest.fixture(autouse=True)
def library() -> None:
    pytest.importorskip("prometheus_client")


def read(path: pathlib.Path) -> dict[str, tuple[str, str, dict[str, float]]]:
    from prometheus_client.parser import text_string_to_metric_families

    return {
        family.name: (
            family.type,
            family.documentation,
            {f"{s.name}{s.labels}": s.value for s in family.samples},
        )
        for family in text_string_to_metric_families(path.read_text())
    }


def test_prometheus_reads_what_is_written(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sev.prom"
    textfile.write(str(path), METRICS)
    assert read(path) == {
        "sev_driver_slots": (
            "gauge",
            "Slots.",
            {"sev_driver_slots{'state': 'used'}": 3},
        ),
        "sev_driver_refusals": (
            "counter",
            'A "reason".',
            {"sev_driver_refusals_total{}": 2},
        ),
    }


def test_it_is_replaced_and_nothing_is_left_beside_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sev.prom"
    for number in (1, 2):
        textfile.write(str(path), [Metric("sev_x", "X.", (), (Sample((), number),))])
    assert "sev_x 2.0" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "none" / "sev.prom")
    with pytest.raises(OSError, match="No such file") as error:
        textfile.write(path, METRICS)
    words = textfile.not_written(path, error.value)
    assert f"{path} cannot be written: No such file or directory." in words
    # Two threads, two temporary names: the words must not differ.
    assert words.count(path) == 1


def test_a_host_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert textfile.library_is_installed()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert not textfile.library_is_installed()


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a/sev.prom", False), ("/a/sev.txt", True), ("/a/prom", True)],
)
def test_names_that_node_exporter_does_not_read(path: str, expected: bool) -> None:
    assert (textfile.misnamed(path) is not None) == expected
