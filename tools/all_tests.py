# SPDX-License-Identifier: Apache-2.0

"""All tests, in lanes that run at the same time.

``all_tests.py COMMAND…`` has pytest's command. The tests of real clouds wait for guests
and services half of their time: one lane runs them, three at a time. The others have
what keeps a core busy: the tests without a cloud, and those of older releases of Nova.
All lanes share the cores alike: where one has to wait, its tests miss deadlines. A few
tests that fail are run once more when all lanes have ended. The last line adds up what
pytest counted.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn, cast

import bootstrap
import once_more
import progress
import release_venv

LOGS = bootstrap.VENV / "tests"
LONGEST_LINE = 4096
CLOUDS = ("tests/e2e", "tests/faults")
#: In groups of those that share a cloud, or a file: see tests/conftest.py. A cloud uses
#: half of a core on average: three keep less than two busy.
IN_GROUPS = "--dist=loadgroup"
THREE_CLOUDS = ("--numprocesses=3", IN_GROUPS, "--verbose", *CLOUDS)
#: What to make faster next.
SLOWEST = "--durations=20"
#: What pytest is given, by the name of the lane.
WITHOUT_CLOUD = {
    "without-clouds": ("tests/unit", "tests/packaging", "tests/devcloud", "tests/fuzz"),
    "functional": ("--numprocesses=2", IN_GROUPS, "tests/functional"),
}
#: The newest is the one that pytest has here. Of the others the oldest, which differs
#: most; make test-releases takes all. The stages are those of tools/releases.py.
OLDER = {release_venv.RELEASES[0]: ("short", "ours", "guests")}
RELEASES = str(Path(__file__).with_name("releases.py"))
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")

Command = Sequence[str]


@dataclasses.dataclass
class Lane:
    """Commands that run one after the other; ``status`` is the first that is not 0.

    ``counts`` says whether they are pytest, whose ``last_lines`` are added up;
    ``pytest`` runs tests of it once more, if there is a way; ``stopped`` says when no
    more shall run.
    """

    name: str
    commands: Sequence[Command]
    counts: bool = True
    pytest: Command = ()
    status: int = 0
    last_lines: list[str] = dataclasses.field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    stopped: bool = False

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    @property
    def cache(self) -> Path:
        return LOGS / f"{self.name}.cache"

    @classmethod
    def of_pytest(cls, name: str, pytest: Command, *words: str) -> Lane:
        """Return the lane of one run of pytest with these words."""
        lane = cls(name, (), pytest=pytest)
        lane.commands = [[*pytest, *once_more.remember(lane.cache), SLOWEST, *words]]
        return lane


def main(pytest: Command) -> int:
    """Run all lanes; return 0 if all tests are green."""
    lanes = [
        Lane.of_pytest(name, pytest, *words) for name, words in WITHOUT_CLOUD.items()
    ]
    start = [sys.executable, "-B", RELEASES, "--jobs", "1"]
    older = [
        [*start, str(release), "--stages", *stages]
        for release, stages in OLDER.items()
        if release_venv.python(release)
    ]
    if older:
        lanes.append(Lane("releases", older, counts=False))
    else:
        progress.say(f"no older Nova is tested: {release_venv.NEEDS_PYTHON}")
    return run(Lane.of_pytest("clouds", pytest, *THREE_CLOUDS), *lanes)


def run(shown: Lane, *logged: Lane) -> int:
    """Run all lanes; show the first as it runs and the others at their end.

    :return: 0 if all of their commands end with 0.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    for lane in logged:
        progress.say(f"at the same time: {lane.log}")
    threads = [threading.Thread(target=_run_logged, args=(lane,)) for lane in logged]
    for thread in threads:
        thread.start()
    try:
        for command in shown.commands:
            _run_shown(shown, command)
        for lane, thread in zip(logged, threads, strict=True):
            progress.say(f"waiting for {lane.log} …")
            thread.join()
    finally:
        for lane, thread in zip(logged, threads, strict=True):
            _end(lane)
            thread.join()
    for lane in logged:
        print(lane.log.read_text(errors="replace"), end="")
    lanes = (shown, *logged)
    late = passed_once_more(lanes)
    for name in late:
        progress.say(f"failed at first, passed when it ran alone: {name}")
    print(total((line for lane in lanes for line in lane.last_lines), len(late)))
    sys.stdout.flush()
    return next((lane.status for lane in lanes if lane.status), 0)


def exit_by(signal_number: int, _: object) -> NoReturn:
    """Handle a signal: the lanes end with this process."""
    sys.exit(128 + signal_number)


def passed_once_more(lanes: Sequence[Lane]) -> list[str]:
    """Run failed tests once more, unless they are many; return those of green lanes."""
    failures = {lane.name: once_more.failed(lane.cache) for lane in lanes}
    if sum(map(len, failures.values())) > once_more.MOST:
        return []
    passed = []
    for lane in lanes:
        command = once_more.command(lane.pytest, lane.cache)
        # Any other status is a run that was broken off.
        if lane.status == 1 and lane.pytest and command:
            progress.say(f"once more: {', '.join(failures[lane.name])}")
            lane.status = subprocess.run(command, check=False).returncode
            passed += [] if lane.status else failures[lane.name]
    return passed


def total(last_lines: Iterable[str], late: int = 0) -> str:
    """Return pytest's counts of ``last_lines``, added up, as one line.

    :param late: how many of the failed passed when they ran once more
    """
    counts: collections.Counter[str] = collections.Counter(passed=late, failed=-late)
    for line in last_lines:
        for number, what in _COUNT.findall(line):
            counts["failed" if what.startswith("error") else what] += int(number)
    words = [f"{counts[what]} {what}" for what in ("passed", "failed")]
    words += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
    return ", ".join(words)


def _run_shown(lane: Lane, command: Command) -> None:
    end = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = cast(io.BufferedReader, process.stdout)
        try:
            while chunk := output.read1():
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
                end = (end + chunk)[-LONGEST_LINE:]
        except SystemExit:
            # Of a Ctrl-C it hears itself.
            process.terminate()
            raise
    lane.status = lane.status or process.returncode
    lane.last_lines.append(_last_line(end))


def _run_logged(lane: Lane) -> None:
    with lane.log.open("wb") as log:
        for command in lane.commands:
            # A session of its own, so that all of it can be ended.
            lane.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            status = lane.process.wait()
            lane.status = lane.status or status
            if lane.counts:
                lane.last_lines.append(
                    _last_line(lane.log.read_bytes()[-LONGEST_LINE:])
                )
            if lane.stopped:
                return


def _end(lane: Lane) -> None:
    lane.stopped = True
    process = lane.process
    if process is not None and process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)


def _last_line(text: bytes) -> str:
    return text.rstrip(b"\n").rpartition(b"\n")[2].decode(errors="replace")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, exit_by)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted")
