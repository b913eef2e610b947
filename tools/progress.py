# SPDX-License-Identifier: Apache-2.0

"""Run a talkative command: its words to a log, one name at a time to the screen."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

WIDTH = 76
TAIL = 25
#: A pattern for run() that matches nothing.
NO_NAMES = "(?!)"


def say(text: str) -> None:
    """Print one heading."""
    print(f"==> {text}", flush=True)


def finish(main: Callable[[], int]) -> NoReturn:
    """End the program with what ``main`` returns, or with what stopped it."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; run it again to go on")
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed, status {error.returncode}: {' '.join(map(str, error.cmd))}")


def run(
    command: Sequence[str],
    log: Path,
    names: str,
    env: dict[str, str] | None = None,
) -> None:
    """Run command; print what the first group of names matches in its output.

    Everything goes to log. When the command fails the end of the log is shown
    and CalledProcessError is raised.
    """
    pattern = re.compile(names)
    column = 0
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
        )
        assert process.stdout is not None  # nosec B101  # for mypy
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                if match := pattern.match(line):
                    column = _word(match.group(1), column)
        finally:
            if column:
                print(flush=True)
            status = process.wait()
    if status:
        _show_end(log)
        raise subprocess.CalledProcessError(status, list(command))


def _word(word: str, column: int) -> int:
    """Print word on the current line or on a new one; return the new column."""
    if column and column + len(word) + 1 > WIDTH:
        print()
        column = 0
    lead = " " if column else "    "
    print(f"{lead}{word}", end="", flush=True)
    return column + len(lead) + len(word)


def _show_end(log: Path) -> None:
    print(f"==> failed; the end of {log}:", file=sys.stderr)
    for line in log.read_text(errors="replace").splitlines()[-TAIL:]:
        print(f"    {line}", file=sys.stderr)
