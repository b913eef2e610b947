# SPDX-License-Identifier: Apache-2.0

"""tools/releases.py: what the table of all Nova releases says, and when it is green."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from installations import ROOT


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import releases

    return releases


TESTS = """
import pytest
def test_good(): pass
def test_bad(): assert False
@pytest.mark.skip(reason="not here")
def test_skipped(): pass
"""


def report(folder: Path, tests: str) -> Path:
    """Have pytest write its report of ``tests``."""
    (folder / "test_it.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_it.py"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    subprocess.run(
        [*command, "--junitxml=report.xml", "--rootdir=."],
        cwd=folder,
        env=environment,
        capture_output=True,
    )
    return folder / "report.xml"


def test_an_outcome_is_read_from_pytests_report(
    releases: ModuleType, tmp_path: Path
) -> None:
    outcome = releases.Outcome.read(report(tmp_path, TESTS))
    assert str(outcome) == "1 passed, 1 failed, 1 skipped"
    assert not outcome.good


def test_no_report_and_no_test_are_not_good(
    releases: ModuleType, tmp_path: Path
) -> None:
    missing = releases.Outcome.read(tmp_path / "none.xml")
    assert not missing.good and "broken off" in str(missing)
    assert not releases.Outcome.read(report(tmp_path, "")).good


def test_only_stock_nova_may_fail(releases: ModuleType) -> None:
    good, bad = releases.Outcome(passed=3), releases.Outcome(passed=2, failed=1)
    assert releases.Row(31, {"unit": good, "stock": bad, "ours": good}, 1).good
    assert not releases.Row(31, {"unit": good, "stock": good, "ours": bad}, 1).good


def test_the_table_has_a_line_for_each_release(releases: ModuleType) -> None:
    rows = [
        releases.Row(n, {"unit": releases.Outcome(passed=n)}, 61.4) for n in (27, 34)
    ]
    assert releases.table(rows, ["unit"]) == [
        "Nova | unit      | time",
        "-----+-----------+-----",
        "27   | 27 passed | 1:01",
        "34   | 34 passed | 1:01",
    ]


def test_where_its_python_is_missing_a_release_is_left_out_in_words(
    releases: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(releases.release_venv.sys, "version", "3.13.5 (main)")
    monkeypatch.setattr(releases.release_venv.shutil, "which", lambda name: None)
    assert releases.possible([27, 34]) == [34]
    assert "Nova 27 is left out: a python3.11 is needed" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="nothing is left"):
        releases.possible([27])


def test_every_release_from_the_oldest_on_has_constraints(releases: ModuleType) -> None:
    from sev_driver.nova_release import NEWEST_NOVA, OLDEST_NOVA

    assert list(range(OLDEST_NOVA, NEWEST_NOVA + 1)) == releases.release_venv.RELEASES
    for release in releases.release_venv.RELEASES:
        pins = (ROOT / "constraints" / f"nova-{release}.txt").read_text()
        assert f"\nnova=={release}." in pins
        assert f"\nopenstack-placement=={release - 18}." in pins


@pytest.mark.parametrize(("user", "root"), [(0, False), (1000, True)])
def test_root_leaves_nothing_compiled_in_the_users_tree(
    releases: ModuleType, monkeypatch: pytest.MonkeyPatch, user: int, root: bool
) -> None:
    monkeypatch.setattr(releases.os, "geteuid", lambda: user)
    command = releases.in_a_cloud(Path("venv"))
    assert ("sudo" in command) is root
    settings = command[: command.index(sys.executable)]
    assert ("PYTHONDONTWRITEBYTECODE=1" in settings) is root
