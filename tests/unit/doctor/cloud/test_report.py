# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import importlib.resources
import json
import re
from pathlib import Path
from typing import Any

import pytest
from a_cloud import ON, REFUSED, UEFI, cloud, flavor, image

from sev_driver.doctor.cloud import plan as dry_run
from sev_driver.doctor.cloud import report
from sev_driver.doctor.cloud.facts import Cloud
from sev_driver.doctor.text import Origin, Style

MANUAL = Path(__file__).parents[4] / "doc/source/admin/doctor-cloud.rst"
NOBODY = dry_run.PlacementAnswers({}, {})
ORIGIN = Origin("1.0.0", "admin", "2026-01-01T00:00:00+00:00")


def schema(name: str) -> Any:
    file = importlib.resources.files("sev_driver.doctor") / f"{name}.schema.json"
    return json.loads(file.read_text())


def text(given: Cloud, quiet: bool = False, **style: bool) -> str:
    shown = Style(100, **style)
    return report.cloud_text(given, report.check_cloud(given), shown, quiet=quiet)


@pytest.mark.parametrize(
    "key", ["hw_vif_model", "hw_video_model", "hw_machine_type", "hw_disk_bus", "x"]
)
def test_no_name_and_no_property_of_an_image_reaches_the_terminal(key: str) -> None:
    forged = "\033[2J\n  forged"
    asked = image(UEFI | {key: forged}, name=forged).asked
    plan = dry_run.run(flavor(ON), asked, cloud(), NOBODY)
    shown = report.plan_text(plan, Style(100, verbose=True))
    assert "\033" not in shown
    assert not any(line.strip() == "forged" for line in shown.splitlines())


@pytest.mark.parametrize(
    ("given", "healthy"),
    [
        (cloud(), True),
        (cloud(images=(image({"hw_mem_encryption": "true"}),)), False),
        (cloud(flavors=REFUSED, images=REFUSED, computes=REFUSED, slots=REFUSED), True),
    ],
)
def test_the_json_of_a_cloud(given: Cloud, healthy: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = report.cloud_json(given, report.check_cloud(given), ORIGIN)
    jsonschema.validate(found, schema("cloud"))
    assert found["healthy"] is healthy
    assert (found["slots"] is None) is (given.slots is REFUSED)


@pytest.mark.parametrize(
    ("specs", "boots"), [(ON, False), ({}, False), ({"sev:model": "x"}, False)]
)
@pytest.mark.parametrize("answers", [REFUSED, NOBODY])
def test_the_json_of_a_plan(specs: dict[str, str], boots: bool, answers: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    plan = dry_run.run(flavor(specs), image(UEFI).asked, cloud(), answers)
    found = report.plan_json(plan, ORIGIN)
    jsonschema.validate(found, schema("plan"))
    assert found["would_boot"] is (boots or (specs == ON and answers is REFUSED))


@pytest.mark.parametrize("name", ["cloud", "plan"])
def test_the_schema_refuses_what_it_does_not_know(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema(name))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"format": 1}, schema(name))


def test_the_text_of_a_cloud() -> None:
    told = text(cloud())
    assert "✔ PASS  flavor m1.sev: asks for AMD SEV by hw:mem_encryption" in told
    assert "Images\n  none asks for encryption among 2 images" in told
    assert "  all hosts  AMD SEV-ES      5         0     5     0       0\n" in told
    assert told.endswith("2 checks: no problem found.\n")
    assert "\033" not in told and "\033[32m" in text(cloud(), colour=True)


FINDING = r'finding\(\s*"'


def test_quiet_is_silent_where_all_is_well() -> None:
    assert text(cloud(), quiet=True) == ""
    wrong = cloud(flavors=(flavor(ON | {"pci_passthrough:alias": "gpu:1"}),))
    assert text(wrong, quiet=True).startswith("Flavors\n  ✘ FAIL  flavor m1.sev\n")
    assert "Slots" not in text(wrong, quiet=True)


def test_what_was_skipped_says_why() -> None:
    told = text(cloud(flavors=REFUSED, images=REFUSED, computes=REFUSED, slots=REFUSED))
    assert told.count("- SKIP") == 4 and told.count("HTTP 403") == 4
    assert told.endswith("4 checks: 4 skipped.\n")


@pytest.mark.parametrize(
    ("module", "before", "kinds"),
    [
        ("catalog", FINDING, ["flavor"]),
        ("catalog", r'"(?=half"|fits")', ["flavor", "image"]),
        ("hosts", FINDING, ["host"]),
        ("launch_digests", FINDING, ["host"]),
        ("owner_inputs", FINDING, ["plan"]),
        ("plan", FINDING, ["plan"]),
        ("compatibility", FINDING, ["flavor", "image"]),
        ("compatibility", r"kind}\.", ["flavor", "image", "service", "host", "plan"]),
    ],
)
def test_the_manual_has_each_check(module: str, before: str, kinds: list[str]) -> None:
    source = importlib.resources.files("sev_driver.doctor.cloud") / f"{module}.py"
    names = re.findall(before + r'([a-z-]+)"', source.read_text())
    text = MANUAL.read_text()
    assert names
    for kind in kinds:
        for name in names:
            assert f".. _doctor-{kind}-{name}:" in text, f"{kind}.{name}"


def test_what_the_driver_refuses_is_among_its_messages() -> None:
    plan = dry_run.run(flavor(ON), image({}).asked, cloud(), NOBODY)
    asks, firmware = report.plan_json(plan, ORIGIN)["findings"]
    assert asks["manual"] == "admin/doctor-cloud.html#doctor-plan-asks"
    assert firmware["manual"] == "admin/messages.html#message-firmware-type"


def test_the_text_of_a_plan() -> None:
    allowed = dry_run.run(flavor(ON), image(UEFI).asked, cloud(), REFUSED)
    told = report.plan_text(allowed)
    assert '  +   <launchSecurity type="sev">' in told
    assert "\nNothing in flavor and image keeps it from booting; the hosts and" in told
    assert all(len(line) <= 100 for line in told.splitlines())
    full = dry_run.run(flavor(ON), image(UEFI).asked, cloud(), NOBODY)
    told = report.plan_text(full)
    assert told.endswith("\nIt would not boot.\n") and "launchSecurity" not in told
    assert "\n  ✘ node1  " in told
    assert "launchSecurity" in report.plan_text(full, Style(verbose=True))
