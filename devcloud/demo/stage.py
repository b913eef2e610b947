# SPDX-License-Identifier: Apache-2.0
"""Shows the demo's steps, commands and facts, and stops at the first untruth."""

import contextlib
import shlex
import subprocess
from collections.abc import Callable, Iterator

from devcloud import interrupts
from devcloud.client import Client, CommandFailed, Outcome
from devcloud.progress import Progress


class StepFailed(Exception):
    """A step of the demo did not show what it was to show."""

    def __init__(self, step: str, why: Exception) -> None:
        super().__init__(f"step {step}: {why}")


class Untrue(Exception):
    """A fact is not as it should be."""


class Stage:
    """Where the demo happens."""

    def __init__(
        self, client: Client, environment: dict[str, str], progress: Progress
    ) -> None:
        self.client = client
        self.environment = environment
        self.progress = progress
        self._number = 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Give a title to what follows; its failure bears the title too."""
        self._number += 1
        title = f"{self._number}. {title}"
        print()
        self.progress.say(title)
        try:
            yield
        except Exception as exc:
            raise StepFailed(title, exc) from exc

    def openstack(self, command: str, more: str = "") -> str:
        """Run a command of the openstack client; show it and its output.

        :param more: arguments that are too long to show.
        """
        if not more:
            return self._run(f"openstack {command}", self.client, quiet=False)
        return self._run(
            f"openstack {command} …",
            lambda _: self.client(f"openstack {command} {more}"),
            quiet=False,
        )

    def shell(self, command: str, *, quiet: bool = False) -> str:
        """The same with any other command; quiet hides its output."""
        return self._run(command, self._subprocess, quiet)

    def announce(self, command: str) -> None:
        """Show a command whose output is shown later, or in part."""
        print(f"  $ {command}", flush=True)

    def say(self, text: str) -> None:
        """Show text below the command that it comes from."""
        for line in text.rstrip().splitlines():
            print(f"    {line}", flush=True)

    def check(self, fact: str, actual: object, expected: object = True) -> None:
        """State a fact that has just been shown; fail if it is none."""
        if actual != expected:
            raise Untrue(
                f"not so: {fact} (found {actual!r}, where {expected!r} should be)"
            )
        print(f"    => {fact}", flush=True)

    def _run(self, command: str, run: Callable[[str], str], quiet: bool) -> str:
        self.announce(command)
        interrupts.check()
        output = run(command)
        interrupts.check()
        if not quiet:
            self.say(output)
        return output

    def _subprocess(self, command: str) -> str:
        result = subprocess.run(
            shlex.split(command),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise CommandFailed(
                command, Outcome(result.returncode, result.stdout, result.stderr)
            )
        return result.stdout
