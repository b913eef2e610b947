# SPDX-License-Identifier: Apache-2.0
"""Run a management command in a fork, so that its imports are paid for once.

keystone-manage, glance-manage and nova-manage spend seconds on importing and
little on doing; and each fills the one global configuration as it likes, so
that two of them cannot follow each other in one process.
"""

import os
import sys
import traceback
from collections.abc import Callable


class CommandFailed(Exception):
    """A management command did not end with status 0."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"{what} ended with status {status}; see the log above")
        self.what = what
        self.status = status


def start(what: str, function: Callable[[], object]) -> Callable[[], None]:
    """Call the function in a fork; the result waits for it and raises."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os._exit(_status(function))

    def wait() -> None:
        _, wait_status = os.waitpid(pid, 0)
        if status := os.waitstatus_to_exitcode(wait_status):
            raise CommandFailed(what, status)

    return wait


def run(what: str, function: Callable[[], object]) -> None:
    start(what, function)()


def _status(function: Callable[[], object]) -> int:
    try:
        result = function()
    except SystemExit as exc:
        result = exc.code
    except BaseException:
        traceback.print_exc()
        result = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return result if isinstance(result, int) else 0 if result is None else 1
