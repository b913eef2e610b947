# SPDX-License-Identifier: Apache-2.0


"""metrics: one value in, Prometheus' metrics and lines for the log out."""

import pathlib
import re

import pytest
import yaml

from sev_driver.host.capabilities import HostCapabilities, ModelCapability, ObstacleKind
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability import metrics
from sev_driver.observability.metrics import MetricsSnapshot
from sev_driver.observability.refusal_reasons import REASONS, Refusal
from sev_driver.placement.inventory import SlotUsage

MANUAL = pathlib.Path(__file__).parents[3] / "doc/source/admin/monitoring.rst"
SEV, ES, SNP = MemoryEncryptionModel
SUPPORT = ("yes", "no", "unknown")
UUID = "11111111-2222-3333-4444-555555555555"

HOST = HostCapabilities(
    (
        ModelCapability(SEV, slots=15),
        ModelCapability(ES, ObstacleKind.PARAMETER_OFF),
        ModelCapability(SNP, ObstacleKind.CAPABILITIES_UNREADABLE),
    )
)
NOW = MetricsSnapshot(
    HOST,
    {SEV: SlotUsage(3, 10, 2, 0), ES: SlotUsage(lost=1), SNP: SlotUsage(None, None, 1)},
    {Refusal("firmware-type", SEV): 2, Refusal("domain-xml", None): 1},
    audit_failures=4,
    version="1.2.3",
    nova_release=34,
)


def values(name: str, now: MetricsSnapshot = NOW) -> dict[tuple[str, ...], int]:
    (metric,) = (each for each in metrics.collect(now) if each.name == name)
    assert all(len(sample.labels) == len(metric.labels) for sample in metric.samples)
    if "model" not in metric.labels:
        return {sample.labels: sample.value for sample in metric.samples}
    # The alias of a label that had another name before.
    assert metric.labels[:2] == ("model", "generation")
    assert all(sample.labels[0] == sample.labels[1] for sample in metric.samples)
    return {sample.labels[1:]: sample.value for sample in metric.samples}


def test_slots_that_are_not_known_have_no_sample() -> None:
    assert values("sev_driver_slots") == {
        ("amd-sev", "used"): 3,
        ("amd-sev", "free"): 10,
        ("amd-sev", "reserved"): 2,
        ("amd-sev", "lost"): 0,
        ("amd-sev-es", "used"): 0,
        ("amd-sev-es", "free"): 0,
        ("amd-sev-es", "reserved"): 0,
        ("amd-sev-es", "lost"): 1,
        ("amd-sev-snp", "reserved"): 1,
        ("amd-sev-snp", "lost"): 0,
    }


@pytest.mark.parametrize(
    ("model", "said"), [(SEV, "yes"), (ES, "no"), (SNP, "unknown")]
)
def test_what_cannot_be_read_is_not_off(
    model: MemoryEncryptionModel, said: str
) -> None:
    found = values("sev_driver_support")
    of_model = {
        labels[1]: on for labels, on in found.items() if labels[0] == model.value
    }
    assert of_model == {"yes": 0, "no": 0, "unknown": 0, said: 1}


def test_every_reason_is_there_from_the_start() -> None:
    found = values("sev_driver_refusals_total")
    assert found["amd-sev", "firmware-type"] == 2
    assert found["unknown", "domain-xml"] == 1
    assert sum(found.values()) == 3
    assert len(found) == 3 * len(REASONS) + 1


def test_the_rest() -> None:
    assert values("sev_driver_audit_failures_total") == {(): 4}
    assert values("sev_driver_build_info") == {("1.2.3", "34"): 1}


def test_names_and_help_are_as_prometheus_has_them() -> None:
    for metric in metrics.collect(NOW):
        assert re.fullmatch(r"sev_driver_[a-z_]+[a-z]", metric.name)
        assert metric.help.endswith(".") and "\n" not in metric.help


def test_the_manual_has_each_metric_and_no_other() -> None:
    told = set(re.findall(r"^   \* - ``(sev_driver_\w+)", MANUAL.read_text(), re.M))
    assert told == {metric.name for metric in metrics.collect(NOW)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            metrics.slots_line(SEV, SlotUsage(3, 10, 2, 0)),
            "sev_slots generation=amd-sev used=3 free=10 reserved=2 lost=0 "
            "model=amd-sev",
        ),
        (
            metrics.slots_line(SNP, SlotUsage(None, None, 1)),
            "sev_slots generation=amd-sev-snp used=unknown free=unknown reserved=1 "
            "lost=0 model=amd-sev-snp",
        ),
        (
            metrics.refusal_line(Refusal("pool", ES), UUID),
            f"sev_refusal generation=amd-sev-es reason=pool server={UUID} "
            f"model=amd-sev-es",
        ),
        (
            metrics.refusal_line(Refusal("domain-xml", None), UUID),
            f"sev_refusal generation=unknown reason=domain-xml server={UUID} "
            f"model=unknown",
        ),
        (metrics.audit_line(2), "sev_audit failures=2"),
    ],
)
def test_lines_for_the_log(line: str, expected: str) -> None:
    assert line == expected


@pytest.mark.parametrize("line", ["sev_slots", "sev_refusal", "sev_audit"])
def test_the_manual_has_each_line(line: str) -> None:
    assert re.search(rf"^    {line} ", MANUAL.read_text(), re.M)


def test_alerts_ask_for_what_there_is() -> None:
    text = (MANUAL.parent / "sev_driver_alerts.yml").read_text()
    known = {metric.name: metric for metric in metrics.collect(NOW)}
    (group,) = yaml.safe_load(text)["groups"]
    asked = 0
    for rule in group["rules"]:
        for name, selector in re.findall(
            r"(sev_driver_\w+)(?:\{([^}]*)\})?", rule["expr"].split(" - node_")[0]
        ):
            asked += 1
            labels = re.findall(r"(\w+)=~?\"([^\"]*)\"", selector)
            for label, pattern in labels:
                position = known[name].labels.index(label)
                found = {sample.labels[position] for sample in known[name].samples}
                for value in pattern.split("|"):
                    assert value in found, rule["alert"]
    assert asked >= 6
