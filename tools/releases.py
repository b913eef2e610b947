# SPDX-License-Identifier: Apache-2.0

"""The tests in every Nova release: one environment each, one table at the end.

``releases.py 27 31`` takes these; no number takes all. The wheel that is built
from this tree is installed into each, as on a compute host.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET  # nosec B405  # pytest wrote what it reads
from collections.abc import Sequence
from pathlib import Path

import bootstrap
import once_more
import progress
import release_venv

ROOT = bootstrap.ROOT
#: Nova's own tests of SEV, with either driver; the others are ours.
NOVAS = "tests/functional/test_nova_own_sev_tests.py"
#: Any steps in any order, which takes as long as all the other functional tests.
MACHINE = "tests/functional/machine"
#: Where the driver does most by release: doors, models, traits, and what Nova keeps.
BY_RELEASE = (
    "doors",
    "bare_flavor",
    "unknown_models",
    "slot_traits",
    "upgrades",
    "lost_image_record",
    "encryption_record",
    "refused_rebuild",
)
DRIVERS = {"stock": "libvirt.LibvirtDriver", "ours": "sev_driver.SEVDriver"}
STAGES: dict[str, list[str]] = {
    "unit": ["tests/unit"],
    "functional": ["tests/functional", f"--ignore={NOVAS}", f"--ignore={MACHINE}"],
    "short": [f"tests/functional/test_{name}.py" for name in BY_RELEASE],
    "machine": [MACHINE],
    "stock": [NOVAS],
    "ours": [NOVAS],
    "guests": ["tests/e2e/test_older_nova.py"],
    "inputs": ["tests/e2e/test_older_inputs.py"],
}
HEADINGS = {
    "unit": "unit",
    "functional": "functional",
    "short": "functional, in short",
    "machine": "state machine",
    "stock": "Nova's SEV tests, stock",
    "ours": "ours",
    "guests": "real guests",
    "inputs": "launch inputs",
}
#: The others need no cloud.
IN_A_CLOUD = ("guests", "inputs")
#: All but what another holds already.
USUAL = [name for name in STAGES if name != "short"]
FILES = r"tests/[\w/]+/(test_\w+)\.py"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run of pytest came to; ``late`` of the passed needed a second run."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    whole: bool = True
    late: int = 0

    @property
    def good(self) -> bool:
        return self.whole and self.passed > 0 and not self.failed

    def __str__(self) -> str:
        words = [f"{self.passed} passed"]
        words += [f"{self.late} of them in a second run"] if self.late else []
        words += [f"{self.failed} failed"] if self.failed else []
        words += [f"{self.skipped} skipped"] if self.skipped else []
        words += [] if self.whole else ["broken off"]
        return ", ".join(words)

    @classmethod
    def read(cls, report: Path) -> Outcome:
        """Read pytest's report in JUnit's form; none is a run broken off."""
        try:
            root = ET.parse(report).getroot()  # nosec B314  # pytest wrote it
            suites = root.findall("testsuite")
        except (OSError, ET.ParseError):
            return cls(whole=False)
        tests, failed, skipped = (
            sum(int(suite.get(name, 0)) for suite in suites for name in names)
            for names in (["tests"], ["failures", "errors"], ["skipped"])
        )
        return cls(tests - failed - skipped, failed, skipped)


@dataclasses.dataclass
class Row:
    """One release's line in the table."""

    release: int
    outcomes: dict[str, Outcome]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether ours is; stock Nova's own failures are only shown."""
        return all(
            outcome.good for name, outcome in self.outcomes.items() if name != "stock"
        )


def main() -> int:
    """Run what was asked for; return 0 if all of ours is green."""
    arguments = parse(sys.argv[1:])
    start = time.monotonic()
    releases = possible(arguments.releases or release_venv.RELEASES)
    wheel = release_venv.build_wheel()
    jobs = min(arguments.jobs, len(releases))
    show = jobs == 1  # names from several at once would be a jumble
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        rows = list(
            pool.map(lambda n: test(n, wheel, arguments.stages, show), releases)
        )
    print("\n".join(table(rows, arguments.stages)))
    minutes = (time.monotonic() - start) / 60
    used = os.times()
    busy = (used.children_user + used.children_system) / 60
    progress.say(
        f"{len(rows)} releases in {minutes:.1f} minutes, {busy:.1f} of a processor's"
    )
    return 0 if all(row.good for row in rows) else 1


def possible(wanted: Sequence[int]) -> list[int]:
    """Return the releases that can be tested here; say which cannot.

    :raises SystemExit: none can.
    """
    found = [release for release in wanted if release_venv.python(release)]
    for release in wanted:
        if release not in found:
            progress.say(f"Nova {release} is left out: {release_venv.NEEDS_PYTHON}")
    if not found:
        raise SystemExit("nothing is left to test")
    return found


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "releases",
        nargs="*",
        type=int,
        metavar="RELEASE",
        help=f"of {release_venv.RELEASES}; all of them by default",
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=USUAL)
    parser.add_argument(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="how many releases at once; each keeps one core busy",
    )
    arguments = parser.parse_args(words)
    for release in arguments.releases:
        if release not in release_venv.RELEASES:
            parser.error(f"no constraints/nova-{release}.txt")
    return arguments


def test(release: int, wheel: Path, stages: Sequence[str], show: bool) -> Row:
    """Run the stages in one release.

    :param show: whether to print names of packages and test files as they come.
    """
    start = time.monotonic()
    progress.say(f"Nova {release}: its environment")
    venv = release_venv.make(release, show)
    release_venv.install(venv, wheel, show)
    outcomes = {}
    for name in stages:
        progress.say(f"Nova {release}: {HEADINGS[name]} …")
        outcomes[name] = run(venv, name, show)
        progress.say(f"Nova {release}: {HEADINGS[name]}: {outcomes[name]}")
    return Row(release, outcomes, time.monotonic() - start)


def run(venv: Path, stage: str, show: bool) -> Outcome:
    """Run one stage, and once more what few tests of it failed.

    Its words go to a log in the environment.
    """
    (venv / f"{stage}.log").unlink(missing_ok=True)
    cache = venv / f"{stage}.cache"
    pytest = in_a_cloud(venv) if stage in IN_A_CLOUD else in_the_release(venv)
    pytest.append("--tb=short")
    tests = [*once_more.remember(cache), *STAGES[stage]]
    first = _run(venv, stage, show, [*pytest, *tests])
    command = once_more.command(pytest, cache) if first.whole and first.failed else []
    if not command or stage == "stock":
        return first
    second = _run(venv, stage, show, command)
    if not second.good:
        return first
    late = second.passed
    return dataclasses.replace(first, passed=first.passed + late, failed=0, late=late)


def _run(venv: Path, stage: str, show: bool, command: list[str]) -> Outcome:
    log, report = venv / f"{stage}.log", venv / f"{stage}.xml"
    report.unlink(missing_ok=True)
    settings = {"COMPUTE_DRIVER": DRIVERS.get(stage, DRIVERS["ours"])}
    settings["PYTHONUNBUFFERED"] = "1"
    try:
        names = FILES if show else progress.NO_NAMES
        command = [*command, f"--junitxml={report}"]
        progress.run(command, log, names, dict(os.environ) | settings)
    except subprocess.CalledProcessError as error:
        # 1: tests have failed, which the report says. Else there was no run.
        if error.returncode != 1:
            return dataclasses.replace(Outcome.read(report), whole=False)
    return Outcome.read(report)


def in_the_release(venv: Path) -> list[str]:
    """Return pytest's command line where the tests import the release's Nova."""
    # Not "python -m pytest": that would put this tree before the wheel.
    return [str(venv / "bin" / "pytest")]


def in_a_cloud(venv: Path) -> list[str]:
    """Return pytest's command line where a cloud runs the release's Nova.

    All but Nova is of this tree's own environment; and a cloud needs root.
    """
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    settings = [f"PATH={programs}", f"OLDER_NOVA_PYTHON={venv}/bin/python"]
    if as_root:  # leave nothing in the tree that the user cannot delete
        settings.append("PYTHONDONTWRITEBYTECODE=1")
    return [*as_root, "env", *settings, sys.executable, "-m", "pytest"]


def table(rows: Sequence[Row], stages: Sequence[str]) -> list[str]:
    """Return the lines of the table."""
    cells = [["Nova", *(HEADINGS[name] for name in stages), "time"]]
    for row in rows:
        minutes, seconds = divmod(round(row.seconds), 60)
        words = [str(row.outcomes[name]) for name in stages]
        cells.append([str(row.release), *words, f"{minutes}:{seconds:02}"])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(
            word.ljust(width) for word, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return lines


if __name__ == "__main__":
    progress.finish(main)
