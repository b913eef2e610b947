# SPDX-License-Identifier: Apache-2.0
"""The real openstack client, without starting an interpreter each time.

Importing it takes longer than what most commands do. It is imported once and
runs in a fork for each command, with the arguments a person would type.
"""

import os
import shlex
import signal
import sys
import tempfile
import traceback
from typing import BinaryIO, NamedTuple, NoReturn

import cliff.app
import openstackclient.shell

from devcloud import interrupts, processes


class Outcome(NamedTuple):
    """What a command wrote, and its exit status."""

    status: int
    output: str
    errors: str


class CommandFailed(Exception):
    """A command that should have succeeded did not."""

    def __init__(self, command: str, outcome: Outcome) -> None:
        self.outcome = outcome
        said = (outcome.errors or outcome.output).strip() or "nothing"
        super().__init__(
            f"`{command}` ended with exit status {outcome.status} and said: {said}"
        )


class Client:
    """The openstack command, for one cloud."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, command: str) -> str:
        """Run the command line; its output, or an error if it failed."""
        outcome = self.run(command)
        if outcome.status:
            raise CommandFailed(command, outcome)
        return outcome.output

    def run(self, command: str) -> Outcome:
        """Run the command line and return what came of it."""
        program, *arguments = shlex.split(command)
        if program != "openstack":
            raise ValueError(f"not a command of the openstack client: {command}")
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            sys.stdout.flush()
            sys.stderr.flush()
            with interrupts.held_back():
                pid = os.fork()
                if pid == 0:
                    self._become_client(program, arguments, out.fileno(), err.fileno())
            status = _wait(pid)
            return Outcome(status, _all_of(out), _all_of(err))

    def _become_client(
        self, program: str, arguments: list[str], out: int, err: int
    ) -> NoReturn:
        status = 1
        try:
            processes.die_with_parent()
            interrupts.reset_after_fork()
            os.dup2(out, 1)
            os.dup2(err, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            # Else it takes the name of the program that has imported it.
            cliff.app.App.NAME = program
            sys.argv = [program, *arguments]
            for name in [name for name in os.environ if name.startswith("OS_")]:
                del os.environ[name]
            os.environ.update(self.environment)
            status = _run_shell(arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _run_shell(arguments: list[str]) -> int:
    try:
        return int(openstackclient.shell.main(arguments))
    except SystemExit as exc:  # --help, --version and errors of usage
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)


def _wait(pid: int) -> int:
    """The exit status; when we are interrupted, the command ends too."""
    try:
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return os.waitstatus_to_exitcode(status)


def _all_of(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
