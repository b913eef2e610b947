# SPDX-License-Identifier: Apache-2.0
"""The manual can be built, without a warning; and man pages know all options."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest
from installations import ROOT

from sev_driver.cmd import capabilities, doctor, link, owner

MAN = ROOT / "doc/source/man"
PARSERS = {
    "sev-capabilities": capabilities._parser(),
    "sev-doctor": doctor._parser(),
    "sev-driver-link": link._parser(),
    "sev-owner": owner._parser(),
}


def build(builder: str, folder: Path) -> Path:
    """What ``make docs`` does; the sources are read once for both builders."""
    options = ["-W", "--keep-going", "-q", "-d", folder / "trees", "-b", builder]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "doc/source", folder / builder],
        cwd=ROOT,  # where the release notes are looked for
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder / builder


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    html = build("html", tmp_path)
    assert len(list(html.rglob("capacity_plot*.svg"))) == 1
    screens = (html / "host-preparation.html").read_text()
    # Of a recorded host whose BIOS is wrong, and of the same when it is mended.
    assert "reports no slots for it" in screens.replace("\n", " ")
    assert "AMD SEV-ES: no guest would run" in screens
    assert "AMD SEV-ES: a guest would run, as far as could be checked" in screens
    # Options that can be copied: -- is no dash.
    assert "<strong>--version</strong>" in (html / "man/sev-doctor.html").read_text()
    # Of a clone without a tag, for which reno has 0.0.0.
    assert "<h2>1.0.0 " in (html / "releasenotes.html").read_text()
    # The test's name can be broken where a browser is narrow.
    assert "test_<wbr>libvirtd_<wbr>" in (html / "admin/faults.html").read_text()
    pages = {page.name for page in build("man", tmp_path).iterdir()}
    assert pages == {f"{name}.1" for name in PARSERS}


@pytest.mark.parametrize(("name", "parser"), PARSERS.items())
def test_a_man_page_has_each_option(name: str, parser: argparse.ArgumentParser) -> None:
    text = (MAN / f"{name}.rst").read_text().partition("\nOptions\n=")[2]
    text = text.partition("\nExit")[0]
    described = re.findall(r"(?<=\*\*)--?[a-z-]+(?=\*\*)(?=.*\n {4})", text)
    parsers = [parser, *commands(parser).values()]
    assert set(described) == {
        option
        for each in parsers
        for action in each._actions
        for option in action.option_strings
    }


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, command in action.choices.items()
    }
