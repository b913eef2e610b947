# SPDX-License-Identifier: Apache-2.0
"""The targets of fuzz/: what was found once, seeds, hypothesis, a short pass."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import session
from fuzz.__main__ import TARGETS, shares

HERE = Path(__file__).parent
FOUND = sorted(path for path in session.FOUND.glob("*/*") if path.is_file())

#: Of the short pass, for each target as fast as most.
INPUTS = 1500
#: The limit of one input in a short pass, in seconds. libFuzzer measures the time on
#: the clock, and other tests may keep the processors busy.
SECONDS = 60


def fuzzer() -> None:
    try:
        session.check_fuzzer()
    except session.NotHere as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("path", FOUND, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_what_was_found_is_mended(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_no_findings(name: str) -> None:
    seeds = TARGETS[name].seeds()
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_hypothesis_finds_nothing(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=max(200 // target.slow, 20))
    @given(st.binary(max_size=400))
    def look(data: bytes) -> None:
        target.run(data)

    look()


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_pass_finds_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same inputs each time: a failure is of the change at hand."""
    fuzzer()
    monkeypatch.setattr(session, "SECONDS", SECONDS)
    inputs = max(INPUTS // TARGETS[name].slow, 50)
    outcome = session.run(name, inputs, tmp_path, seed=1)
    assert not outcome.finding, (outcome, (tmp_path / name / "log").read_text()[-3000:])
    assert outcome.executions >= inputs
    assert outcome.edges > 0


#: Found step by step, by who follows what is run; by chance in 10**9 inputs.
PLANTED = """
from fuzz.target import Target

def run(data):
    if len(data) > 3 and data[0] == 0x73:
        if data[1] == 0x65:
            if data[2] == 0x76:
                if data[3] == 0x21:
                    raise KeyError("planted")

TARGETS = (Target("bug", run, lambda: [b"abcd"]),)
"""


def test_a_planted_bug_is_found_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuzzer()
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(session, "FOUND", tmp_path / "found")
    outcome = session.run("planted:bug", 500_000, tmp_path / "corpus", seed=1)
    assert outcome.finding == "KeyError: 'planted'"
    assert outcome.kept is not None and outcome.kept.read_bytes()[:4] == b"sev!"


def test_an_input_that_takes_too_long_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuzzer()
    (tmp_path / "endless.py").write_text(
        "from fuzz.target import Target\n"
        "def run(data):\n"
        "    while data[:1] == b'x':\n"
        "        pass\n"
        "TARGETS = (Target('loop', run, lambda: [b'abc', b'xyz']),)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(session, "FOUND", tmp_path / "found")
    monkeypatch.setattr(session, "SECONDS", 5)
    outcome = session.run("endless:loop", 100, tmp_path / "corpus", seed=1)
    log = tmp_path / "corpus" / "endless-loop" / "log"
    assert outcome.finding.startswith("timeout"), (outcome, log.read_text()[-3000:])
    assert outcome.kept is not None and outcome.kept.read_bytes().startswith(b"x")


def test_all_inputs_are_given_out() -> None:
    given_out = shares(1_000_000, list(TARGETS))
    assert sum(given_out.values()) >= 1_000_000
    assert min(given_out.values()) >= 1000
