# SPDX-License-Identifier: Apache-2.0
"""Lines that tell a person how far the cloud is, with the seconds elapsed."""

import sys
import time
from typing import TextIO

from devcloud.reports import Report


class Progress:
    """Prints what happens, as it happens."""

    def __init__(self, output: TextIO | None = None) -> None:
        self.output = output or sys.stdout
        self.start = time.monotonic()

    def say(self, text: str) -> None:
        elapsed = time.monotonic() - self.start
        print(f"[{elapsed:5.1f}s] {text}", file=self.output, flush=True)

    def report(self, report: Report) -> None:
        """Show one report of a cloud that is starting."""
        if report.event == "ready" and report.who != "cloud":
            self.say(f"{report.who} is ready  {report.text}".rstrip())
        elif report.event == "progress":
            who = "" if report.who == "cloud" else f"{report.who}: "
            self.say(who + report.text)
