# SPDX-License-Identifier: Apache-2.0

"""What failed, run once more when nothing else runs.

A test of a whole cloud can miss its deadline on a machine that is busy with something
else. So a few failed tests get a second run, alone. Both runs are shown, and a test
that passes only then is named at the end. A test that fails twice has failed, and so
have many tests at once: they get no second run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

#: More failures than these have one cause, and that is no busy machine.
MOST = 10


def remember(cache: Path) -> list[str]:
    """Return pytest's options to keep in ``cache`` what fails; forget earlier runs."""
    # pytest clears it: it may run as root, and the cache is then root's.
    return [*_options(cache), "--cache-clear"]


def failed(cache: Path) -> list[str]:
    """Return the names of the tests that failed in the run with this ``cache``."""
    try:
        return sorted(json.loads((cache / "v/cache/lastfailed").read_text()))
    except (OSError, ValueError):
        return []


def command(pytest: Sequence[str], cache: Path) -> list[str]:
    """Return the command that runs them once more; it is empty where none shall.

    :param pytest: the command that runs pytest, without tests
    """
    names = failed(cache)
    if not 0 < len(names) <= MOST:
        return []
    return [*pytest, *_options(cache), "--verbose", *names]


def _options(cache: Path) -> list[str]:
    return ["-o", f"cache_dir={cache}"]
