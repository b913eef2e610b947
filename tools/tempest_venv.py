# SPDX-License-Identifier: Apache-2.0

"""Install Tempest into an environment of its own, .venv/tempest; safe to repeat.

An operator runs Tempest from another environment than Nova's, and so does this tree:
what Tempest imports cannot change what the tests of the driver import.

With ``--if-possible`` it is no error that pip cannot fetch it: the tests that need
Tempest are skipped.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import bootstrap
import progress

FOLDER = bootstrap.VENV / "tempest"
READY = FOLDER / "ready"
PIN = bootstrap.ROOT / "constraints" / "tempest.txt"
OPTIONAL = "--if-possible"


def main() -> int:
    """Make the environment, unless it was made from the same lists."""
    try:
        _install()
    except subprocess.CalledProcessError:
        if OPTIONAL not in sys.argv[1:]:
            raise
        progress.say("Tempest is not installed: its tests are skipped")
    return 0


def is_made() -> bool:
    """Return whether the environment was made from the lists of this tree."""
    return READY.exists() and READY.read_text() == _key()


def _install() -> None:
    if is_made():
        READY.touch()  # make compares times
        return
    progress.say("Tempest and what it needs")
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    command = [str(FOLDER / "bin" / "python"), "-m", "pip", "install"]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--constraint", str(bootstrap.CONSTRAINTS), "--requirement", str(PIN)]
    progress.run(command, FOLDER / "install.log", bootstrap.PIP_NAMES)
    READY.write_text(_key())


def version() -> str:
    """Return the version of Tempest that is pinned."""
    (pin,) = (line for line in PIN.read_text().splitlines() if "==" in line)
    return pin.partition("==")[2]


def _key() -> str:
    lists: list[Path] = [PIN, bootstrap.CONSTRAINTS]
    text = "".join(path.read_text() for path in lists)
    return hashlib.sha256(f"{sys.version_info[:2]} {text}".encode()).hexdigest()


if __name__ == "__main__":
    progress.finish(main)
