# SPDX-License-Identifier: Apache-2.0

"""Runs targets, each in a process of its own, and reads what libFuzzer says."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What was found, one file an input; replayed by the tests.
FOUND = ROOT / "tests/data/fuzz"

#: No input may take longer, in seconds, or more memory, in MiB.
SECONDS, MIB = 10, 1024
#: Inputs are no longer than this.
BYTES = 8192

_UNITS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
#: Of a traceback: the last line, which names the error.
_ERROR = re.compile(r"^(?:[\w.]*(?:Error|Exception|Finding|Exit|Warning)\b.*)$", re.M)


class NotHere(Exception):
    """There is no fuzzer for this Python or processor."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one target; ``finding`` is empty where there was none.

    ``kept`` is the file of the input that was found.
    """

    target: str
    executions: int
    seconds: float
    edges: int
    finding: str = ""
    kept: Path | None = None


def check_fuzzer() -> None:
    """:raises NotHere: Atheris is not installed."""
    if importlib.util.find_spec("atheris") is None:
        raise NotHere(
            "atheris is not installed: it is made for Python 3.11 to 3.13 on x86_64"
        )


def run(name: str, inputs: int, folder: Path, seed: int = 0) -> Outcome:
    """Put so many inputs before the target ``name``.

    :param folder: keeps the corpus; a later run goes on from there.
    :param seed: of libFuzzer; 0 is another one each time.
    """
    folder = folder / name.replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "fuzz.one", name, str(folder)]
    command += [f"-runs={inputs}", f"-seed={seed}", f"-max_len={BYTES}"]
    # The kernel has the process begin with the peak of the one that starts it.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    command += [f"-timeout={SECONDS}", f"-rss_limit_mb={peak + MIB}"]
    command += ["-print_final_stats=1"]
    command += [f"-artifact_prefix={folder}/"]
    start = time.monotonic()
    log = folder / "log"
    with log.open("wb") as output:
        ended = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, check=False
        )
    return _outcome(name, folder, ended.returncode, time.monotonic() - start)


def _outcome(name: str, folder: Path, status: int, seconds: float) -> Outcome:
    text = (folder / "log").read_text(errors="replace")
    units, edges = _UNITS.findall(text), _COVERAGE.findall(text)
    figures = (
        int(units[-1]) if units else 0,
        seconds,
        int(edges[-1][0]) if edges else 0,
    )
    if status == 0 and units:
        return Outcome(name, *figures)
    errors = _ERROR.findall(text) or [f"it ended with status {status}"]
    kept = None
    for kind in ("crash", "timeout", "oom", "leak"):
        for path in sorted(folder.glob(f"{kind}-*")):
            kept = keep(name, path.read_bytes())
            path.unlink()
            errors = errors if kind == "crash" else [f"{kind}: see {folder / 'log'}"]
    return Outcome(name, *figures, errors[0], kept)


def keep(name: str, data: bytes) -> Path:
    """Write an input where the tests replay it."""
    path = FOUND / name.replace(":", "-") / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
