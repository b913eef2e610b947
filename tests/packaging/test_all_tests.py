# SPDX-License-Identifier: Apache-2.0

"""tools/all_tests.py: pytest and the older releases beside each other."""

import importlib.util
import os
import signal
import sys
import types
from pathlib import Path
from types import ModuleType

import pytest
from installations import ROOT


@pytest.fixture
def all_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import all_tests

    monkeypatch.setattr(all_tests, "LOGS", tmp_path)
    return all_tests


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def says(text: str, status: int = 0) -> list[str]:
    return python(f"print({text!r}); raise SystemExit({status})")


@pytest.mark.parametrize(
    ("clouds", "busy", "green"), [(0, 0, True), (1, 0, False), (0, 1, False)]
)
def test_lanes_are_green_where_both_are_and_end_with_the_sum(
    all_tests: ModuleType,
    capfd: pytest.CaptureFixture[str],
    clouds: int,
    busy: int,
    green: bool,
) -> None:
    shown = all_tests.Lane("clouds", [says("dots\n== 9 passed, 2 skipped ==", clouds)])
    logged = all_tests.Lane("rest", [says("== 1 failed, 5 passed =="), says("x", busy)])
    assert (all_tests.run(shown, logged) == 0) == green
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "14 passed, 1 failed, 2 skipped"
    assert lines.index("dots") < lines.index("x")


def test_total_counts_errors_as_failures(all_tests: ModuleType) -> None:
    lines = ["= 2 passed, 1 error in 3s =", "3 passed, 2 errors, 1 failed", "broken"]
    assert all_tests.total(lines) == "5 passed, 4 failed"


def test_both_lanes_run_at_once(all_tests: ModuleType, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for fifo in (one, other):
        os.mkfifo(fifo)
    # Each waits for the other to come to the same line; alone it would not end.
    code = "import signal; signal.alarm(60); "
    first = f"{code} open({str(one)!r}, 'w'); open({str(other)!r})"
    second = f"{code} open({str(one)!r}); open({str(other)!r}, 'w')"
    lanes = [all_tests.Lane(str(n), [python(c)]) for n, c in enumerate((first, second))]
    assert all_tests.run(*lanes) == 0


def test_the_other_lane_ends_where_the_first_is_broken_off(
    all_tests: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    # A child of its own holds the other end, as pytest does in a release.
    child = f"import time; f = open({str(fifo)!r}, 'w', 1); print(1, file=f); "
    child += "time.sleep(60); print(2, file=f)"
    run = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    pipes = []

    def broken_off(*arguments: object) -> None:
        pipes.append(fifo.open())
        assert pipes[0].readline() == "1\n"
        raise KeyboardInterrupt

    monkeypatch.setattr(all_tests, "_run_shown", broken_off)
    never = tmp_path / "never"
    commands = [python(run), python(f"open({str(never)!r}, 'w')")]
    with pytest.raises(KeyboardInterrupt):
        all_tests.run(
            all_tests.Lane("clouds", [["pytest"]]), all_tests.Lane("rest", commands)
        )
    with pipes[0] as pipe:
        assert pipe.read() == ""  # nobody holds it any more
    assert not never.exists()


def test_the_shown_lane_ends_with_this_process(
    all_tests: ModuleType, tmp_path: Path
) -> None:
    never = tmp_path / "never"
    code = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); "
    code += f"time.sleep(60); open({str(never)!r}, 'w')"
    usual = signal.signal(signal.SIGTERM, all_tests.exit_by)
    try:
        with pytest.raises(SystemExit):
            all_tests.run(all_tests.Lane("clouds", [python(code)]))
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert not never.exists()


def test_where_no_older_release_can_be_tested_it_says_so_and_runs_the_rest(
    all_tests: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(all_tests.release_venv, "python", lambda release: None)
    assert all_tests.main(says("9 passed", 3)) == 3
    out = capfd.readouterr().out
    assert "no older Nova is tested: a python3.11 is needed" in out
    assert out.endswith("27 passed, 0 failed\n")


PYTEST = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir=."]
FAILS_AT_FIRST = """
from pathlib import Path
def test_it():
    mark = Path(__file__).with_suffix(".ran")
    again = mark.exists()
    mark.touch()
    assert again
"""
FAILS = "def test_it(): assert False"
PASSES = "def test_it(): pass"


@pytest.mark.parametrize(
    ("files", "status", "end"),
    [
        ([PASSES, FAILS_AT_FIRST], 0, "2 passed, 0 failed"),
        ([PASSES, FAILS, FAILS_AT_FIRST], 1, "1 passed, 2 failed"),
        ([FAILS_AT_FIRST] * 11, 1, "0 passed, 11 failed"),
    ],
    ids=["passes then", "fails again", "too many"],
)
def test_what_failed_runs_once_more(
    all_tests: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    files: list[str],
    status: int,
    end: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / f"test_{number}.py" for number in range(len(files))]
    for path, text in zip(paths, files, strict=True):
        path.write_text(text)
    lane = all_tests.Lane.of_pytest("some", PYTEST, *map(str, paths))
    assert all_tests.run(lane) == status
    out = capfd.readouterr().out
    assert out.endswith(f"{end}\n")
    assert ("failed at first, passed when it ran alone" in out) == (status == 0)


def test_an_earlier_run_is_forgotten(
    all_tests: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "test_it.py"
    for text, status in ((FAILS, 1), (PASSES, 0)):
        path.write_text(text)
        lane = all_tests.Lane.of_pytest("some", PYTEST, str(path))
        assert all_tests.run(lane) == status
    assert not all_tests.once_more.failed(lane.cache)


def test_those_that_share_a_cloud_run_in_one_process() -> None:
    spec = importlib.util.spec_from_file_location("all", ROOT / "tests/conftest.py")
    assert spec and spec.loader
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    for file, fixtures, group in (
        ("e2e/test_a.py", ["tmp_path"], "e2e/test_a.py"),
        ("e2e/test_a.py", ["the_lab", "lab"], "e2e/the_lab"),
        ("e2e/test_a.py", ["the_cloud", "cloud"], "e2e/the_cloud"),
        ("e2e/test_b.py", ["the_lab"], "e2e/the_lab"),
        ("faults/test_a.py", ["the_lab"], "faults/the_lab"),
    ):
        item = types.SimpleNamespace(path=conftest.HERE / file, fixturenames=fixtures)
        assert conftest.group(item) == group
