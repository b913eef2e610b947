# SPDX-License-Identifier: Apache-2.0

"""sev-driver-link, in the places where Nova and the driver can be."""

import subprocess
import sys
from pathlib import Path

import pytest
from installations import ROOT, Install, Installation

ERROR = "ModuleNotFoundError: No module named 'nova.virt.sev_driver'"


@pytest.fixture
def apart(install: Install) -> Installation:
    """Nova from a distribution's packages, the driver from pip."""
    return install("apart")


def test_apart_nova_finds_no_driver(apart: Installation) -> None:
    loaded = apart.load()
    assert loaded.returncode == 1
    assert ERROR in loaded.stderr


def test_apart_check_says_why_and_what_to_do(apart: Installation) -> None:
    checked = apart.link("--check")
    assert checked.returncode == 1
    assert ERROR in checked.stderr
    assert f"{apart.python} -m sev_driver.cmd.link" in checked.stderr
    assert str(apart.nova) in checked.stdout
    assert str(apart.site / "sev_driver") in checked.stdout
    assert not (apart.nova / "virt" / "sev_driver").exists()


def test_apart_one_step_makes_it_load(apart: Installation) -> None:
    linked = apart.link()
    assert linked.returncode == 0, linked.stderr
    assert apart.link("--check").returncode == 0
    loaded = apart.load()
    assert loaded.returncode == 0, loaded.stderr
    assert Path(loaded.stdout.strip()) == apart.nova / "virt/sev_driver/__init__.py"


def test_apart_the_step_can_be_repeated_and_undone(apart: Installation) -> None:
    assert apart.link().returncode == 0
    assert "Nothing to link" in apart.link().stdout
    assert apart.link("--remove").returncode == 0
    assert not (apart.nova / "virt" / "sev_driver").exists()
    assert (apart.nova / "virt" / "driver.py").exists()
    assert ERROR in apart.link("--check").stderr
    assert "Nothing to remove" in apart.link("--remove").stdout


def test_together_there_is_nothing_to_link(install: Install) -> None:
    both = install("together")
    linked = both.link()
    assert linked.returncode == 0, linked.stderr
    assert "Nothing to link" in linked.stdout


def test_together_the_packages_own_file_stays(install: Install) -> None:
    both = install("together")
    removed = both.link("--remove")
    assert removed.returncode == 1
    assert "pip uninstall sev_driver" in removed.stderr
    assert (both.nova / "virt" / "sev_driver" / "__init__.py").exists()


def test_what_the_driver_needs_is_named(apart: Installation) -> None:
    assert apart.link().returncode == 0
    for file in apart.nova.parent.glob("lxml"):
        file.unlink()
    checked = apart.link("--check")
    assert checked.returncode == 1
    assert "ModuleNotFoundError: No module named 'lxml'" in checked.stderr
    assert f"Install lxml for {apart.python}." in checked.stderr


def test_a_link_left_over_is_named(apart: Installation) -> None:
    assert apart.link().returncode == 0
    apart.pip("uninstall", "--yes", "sev_driver")
    loaded = apart.load()
    assert loaded.returncode == 1
    assert "No module named 'sev_driver'" in loaded.stderr


def test_without_nova_it_asks_for_the_right_python() -> None:
    script = ROOT / "sev_driver" / "cmd" / "link.py"
    run = subprocess.run(
        [sys.executable, "-I", "-S", script, "--check"], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert f"Nova is not installed for {sys.executable}" in run.stderr
    assert "Run this with the Python that runs nova-compute" in run.stderr
