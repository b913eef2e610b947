# SPDX-License-Identifier: Apache-2.0
"""The manual has a section for each check, and for no other."""

import pathlib
import re

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host import report
from sev_driver.doctor.host.diagnosis import NODES

MANUAL = pathlib.Path(__file__).parents[3] / "doc/source/admin/doctor.rst"
SECTION = re.compile(r"\n\.\. _(doctor-[a-z0-9-]+):\n\n([^\n]+)\n([=-])\3+\n")


def test_every_check_has_a_section_with_its_title() -> None:
    sections = {
        label: title
        for label, title, mark in SECTION.findall(MANUAL.read_text())
        if mark == "-"
    }
    expected = {}
    for node in NODES:
        page = report.manual(Finding(node.check, Verdict.PASS, "x"))
        address, _, label = page.partition("#")
        assert address == "admin/doctor.html"
        expected[label] = node.check.title
    assert sections == expected


def test_they_stand_in_the_order_of_the_checks() -> None:
    ids = [node.check.id.replace(".", "-") for node in NODES]
    found = [label for label, _, mark in SECTION.findall(MANUAL.read_text())]
    labels = [label for label in found if label.removeprefix("doctor-") in ids]
    assert labels == [f"doctor-{each}" for each in ids]


def test_every_category_has_its_name_for_people() -> None:
    assert {node.check.category for node in NODES} <= report._TITLES.keys()
