# SPDX-License-Identifier: Apache-2.0

"""etc/grafana: the dashboard shows every metric, by labels and values that exist."""

import json
import pathlib
import re

from sev_driver.host.capabilities import HostCapabilities, ModelCapability
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability import metrics
from sev_driver.observability.metrics import MetricsSnapshot
from sev_driver.observability.refusal_reasons import Refusal
from sev_driver.placement.inventory import SlotUsage

DASHBOARD = pathlib.Path(__file__).parents[3] / "etc/grafana/sev_driver.json"
MODELS = tuple(MemoryEncryptionModel)
#: The metrics have each label and each value that they can have.
NOW = MetricsSnapshot(
    HostCapabilities(tuple(ModelCapability(model, slots=15) for model in MODELS)),
    {model: SlotUsage(3, 10, 2, 0) for model in MODELS},
    {Refusal("domain-xml", None): 1},
    audit_failures=4,
    version="1.2.3",
    nova_release=34,
)


def known() -> dict[str, metrics.Metric]:
    return {metric.name: metric for metric in metrics.collect(NOW)}


def asked(query: str) -> list[str]:
    """Return the metrics of a query of Prometheus, whose labels and values exist."""
    names = []
    for name, selector in re.findall(r"(sev_driver_\w+)(?:\{([^}]*)\})?", query):
        names.append(name)
        for label, pattern in re.findall(r"(\w+)!?=~?\"([^\"]*)\"", selector):
            if label == "instance":  # Prometheus' own
                continue
            position = known()[name].labels.index(label)
            found = {sample.labels[position] for sample in known()[name].samples}
            # $model is a variable of the dashboard.
            assert set(pattern.split("|")) <= found | {"$model"}, query
    return names


def test_dashboard_shows_every_metric_and_no_other() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    shown = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            names = asked(target["expr"])
            shown |= set(names)
            labels = {"instance"}.union(*(known()[name].labels for name in names))
            grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            used = {label for group in grouped for label in group.split(", ")}
            used |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert used <= labels, panel["title"]
    assert shown == known().keys()


def test_dashboard_uses_no_label_that_will_be_removed() -> None:
    expressions = json.dumps(
        [panel["targets"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    )
    assert "generation" not in expressions


def test_dashboard_has_each_of_its_variables() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(dashboard["panels"])))
    assert used == variables.keys()
    for variable in variables.values():
        for name, label in re.findall(
            r"label_values\((\w+), (\w+)\)", variable.get("definition", "")
        ):
            assert label in ("instance", *known()[name].labels)


def test_dashboard_can_be_imported() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    # Grafana gives the id; the uid keeps a second import from making a second one.
    assert "id" not in dashboard and dashboard["uid"]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        # A panel that is repeated for each model takes the whole row.
        width = 24 if "repeat" in panel else grid["w"]
        cells = {
            (grid["x"] + x, grid["y"] + y)
            for x in range(width)
            for y in range(grid["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
