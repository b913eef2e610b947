# SPDX-License-Identifier: Apache-2.0
"""What a cloud's services wrote while a test ran that failed.

Where the tests run by themselves, a failure has to explain itself: the clouds are gone.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

#: Lines that say why something did not come to be.
TELLING = re.compile(
    r" (WARNING|ERROR|CRITICAL) |Filter \S+ returned 0 |no allocation candidates"
    r"|^\w{3} \w{3} .*(ended|killed)"
)
MOST, LONGEST = 40, 300


class CloudLogs:
    """The ends of the logs that were there when the test began."""

    def __init__(self) -> None:
        self._starts: dict[Path, int] = {}

    def begin(self, item: pytest.Item) -> None:
        """Remember where the logs of the test's clouds end."""
        self._starts = {log: log.stat().st_size for log in _logs(item)}

    def report(self, item: pytest.Item) -> str:
        """Return the telling lines since then, the last ones of each log."""
        parts = []
        for log in _logs(item):
            with log.open("rb") as stream:
                stream.seek(self._starts.get(log, 0))
                text = stream.read().decode(errors="replace")
            if lines := telling(text.splitlines()):
                parts.append("\n".join((f"{log.name}:", *lines)))
        return "\n".join(parts)


def telling(lines: Iterable[str]) -> list[str]:
    """Return the last of the lines that say why something failed, cut."""
    found = [line[:LONGEST] for line in lines if TELLING.search(line)]
    return found[-MOST:]


def _logs(item: pytest.Item) -> list[Path]:
    # Not imported here: the tests of older releases have no clouds.
    testing = sys.modules.get("devcloud.testing")
    if testing is None:
        return []
    arguments = getattr(item, "funcargs", {}).values()
    fixture = testing.CloudFixture
    clouds = {id(found): found for found in arguments if isinstance(found, fixture)}
    folders = [cloud.cloud.layout.logs for cloud in clouds.values()]
    return sorted(log for folder in folders for log in folder.glob("*.log"))
