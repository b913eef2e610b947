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

"""All tests: pytest's here, and beside them, on the other core, the older releases'.

``all_tests.py COMMAND…`` has pytest's command. That waits for guests to boot half
of its time, so that the releases cost few minutes. Their table comes at the end,
before the last line of pytest's.
"""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import progress
import release_venv

LOG = release_venv.FOLDER / "log"
LONGEST_LINE = 4096
#: The newest is the one that pytest has here. Of the others the oldest, and the
#: last one whose API knows no model; make test-releases takes all of them.
OLDER = (release_venv.RELEASES[0], 31)
RELEASES = str(Path(__file__).with_name("releases.py"))


def main(pytest: Sequence[str]) -> int:
    """Run both; return 0 if both are green."""
    releases = [n for n in OLDER if release_venv.python(n)]
    if not releases:
        progress.say(f"no older Nova is tested: {release_venv.NEEDS_PYTHON}")
        return subprocess.run(pytest).returncode
    return beside([sys.executable, "-B", RELEASES, *map(str, releases)], pytest)


def beside(releases: Sequence[str], pytest: Sequence[str]) -> int:
    """Run both commands; the output of the first waits for the end of the second."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    progress.say(f"beside these tests run those of the older releases: {LOG}")
    with LOG.open("wb") as log:
        first = subprocess.Popen(
            [*releases, "--jobs", "1"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status, last_line = passed_on(pytest)
        progress.say("the older releases …")
        first.wait()
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGTERM)
            first.wait()
    print(LOG.read_text(errors="replace"), end="")
    print(last_line, flush=True)
    return status or first.returncode


def passed_on(command: Sequence[str]) -> tuple[int, str]:
    """Run command and print what it prints; return its status and the last line."""
    end = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = cast(io.BufferedReader, process.stdout)
        while chunk := output.read1():
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            end = (end + chunk)[-LONGEST_LINE:]
    last_line = end.rstrip(b"\n").rpartition(b"\n")[2]
    return process.returncode, last_line.decode(errors="replace")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted")
