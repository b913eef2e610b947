# SPDX-License-Identifier: Apache-2.0

"""Run Tempest from its own environment against a one-machine cloud."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import tempest_conf
import tempest_results as results
import tempest_venv

from devcloud.config import ini
from devcloud.testing import CloudFixture

BIN = tempest_venv.FOLDER / "bin"
#: What tempest run prints of each test.
_LINE = re.compile(r"\{\d+\} ")


class TempestError(RuntimeError):
    """Tempest was not run to its end; the message says where its log is."""


def run(
    cloud: CloudFixture,
    parts: tempest_conf.Parts,
    work: Path,
    tests: Sequence[str],
    workers: int = 1,
) -> results.Run:
    """Run Tempest and read its results.

    :param work: a folder that does not exist yet, for Tempest's files
    :param tests: regular expressions of tests
    :param workers: how many tests run at the same time, each in a project of its own
    :raises TempestError: it was not run to its end.
    """
    work.mkdir()
    conf = work / "tempest.conf"
    ini.write(conf, tempest_conf.sections(cloud, parts, work))
    selection = work / "selection"
    selection.write_text("".join(f"{test}\n" for test in tests))
    command = [str(BIN / "tempest"), "run", "--config-file", str(conf)]
    command += ["--include-list", str(selection), "--concurrency", str(workers)]
    start = time.monotonic()
    status = _show(command, work)
    seconds = time.monotonic() - start
    # 1: tests have failed, which the results say.
    if status not in (0, 1):
        raise TempestError(f"tempest run ended with {status}; see {work}/tempest.out")
    last = [str(BIN / "stestr"), "last", "--subunit"]
    stream = subprocess.run(
        last, cwd=work, env=_environment(), stdout=subprocess.PIPE
    ).stdout
    return results.Run.of(results.read_subunit(stream), seconds)


def _show(command: Sequence[str], work: Path) -> int:
    """Run Tempest; print its line of each test, and write all of it to tempest.out.

    It has a session of its own, so that its workers end when this process does.
    """
    with (work / "tempest.out").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None  # nosec B101  # for mypy
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if _LINE.match(line):
                    print(line, end="", flush=True)
            return process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


def _environment() -> dict[str, str]:
    """Return the environment of Tempest's programs: none of this tree's modules."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**kept, "PATH": f"{BIN}:{kept['PATH']}"}
