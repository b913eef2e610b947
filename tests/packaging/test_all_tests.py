#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""tools/all_tests.py: pytest and the older releases beside each other."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from installations import ROOT


@pytest.fixture
def all_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import all_tests

    monkeypatch.setattr(all_tests, "LOG", tmp_path / "releases" / "log")
    return all_tests


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def says(text: str, status: int = 0) -> list[str]:
    return python(f"print({text!r}); raise SystemExit({status})")


@pytest.mark.parametrize(
    ("releases", "tests", "green"), [(0, 0, True), (1, 0, False), (0, 1, False)]
)
def test_it_is_green_where_both_are_and_ends_with_pytests_last_line(
    all_tests: ModuleType,
    capfd: pytest.CaptureFixture[str],
    releases: int,
    tests: int,
    green: bool,
) -> None:
    status = all_tests.beside(says("table", releases), says("dots\n9 passed", tests))
    assert (status == 0) == green
    lines = capfd.readouterr().out.splitlines()
    assert lines[-2:] == ["table", "9 passed"]
    assert lines.index("dots") < lines.index("table")


def test_both_run_at_once(all_tests: ModuleType, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for fifo in (one, other):
        os.mkfifo(fifo)
    # Each waits for the other to come to the same line; alone it would not end.
    code = "import signal; signal.alarm(60); "
    releases = f"{code} open({str(one)!r}, 'w'); open({str(other)!r})"
    tests = f"{code} open({str(one)!r}); open({str(other)!r}, 'w')"
    assert all_tests.beside(python(releases), python(tests)) == 0


def test_where_pytest_is_broken_off_the_releases_end_too(
    all_tests: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    # A child of its own holds the other end, as pytest does in a release.
    child = f"import time; f = open({str(fifo)!r}, 'w', 1); print(1, file=f); "
    child += "time.sleep(60); print(2, file=f)"
    run = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    pipes = []

    def broken_off(command: list[str]) -> None:
        pipes.append(fifo.open())
        assert pipes[0].readline() == "1\n"
        raise KeyboardInterrupt

    monkeypatch.setattr(all_tests, "passed_on", broken_off)
    with pytest.raises(KeyboardInterrupt):
        all_tests.beside(python(run), ["pytest"])
    with pipes[0] as pipe:
        assert pipe.read() == ""  # nobody holds it any more


def test_where_no_older_release_can_be_tested_it_says_so_and_runs_the_rest(
    all_tests: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(all_tests.release_venv, "python", lambda release: None)
    assert all_tests.main(says("9 passed", 3)) == 3
    out = capfd.readouterr().out
    assert "no older Nova is tested: a python3.11 is needed" in out
    assert out.endswith("9 passed\n")
