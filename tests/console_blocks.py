# SPDX-License-Identifier: Apache-2.0
"""The manual's commands: read from its console blocks, and run in a shell.

A block is ``.. code-block:: console``. In it a line that begins with ``$`` or
``#`` and a space is a command, of a user or of root; a command goes on after a
backslash, or in lines that begin with ``>``. What follows is what it shows.
"""

import dataclasses
import re
import selectors
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

TREE = Path(__file__).parents[1]
SOURCE = TREE / "doc/source"
TIMEOUT = 180

_DIRECTIVE = re.compile(r"( *)\.\. code-block:: console$")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclasses.dataclass
class Command:
    """A command of the manual, and the lines that it shows there."""

    page: str
    line: int
    text: str
    shown: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.flat}"

    @property
    def flat(self) -> str:
        """The command in one line, by which the tables know it."""
        return " ".join(self.text.replace("\\\n", " ").split())


def pages() -> list[Path]:
    return [TREE / "README.rst", *sorted(SOURCE.rglob("*.rst"))]


def name(page: Path) -> str:
    """README.rst, or a path below the manual's folder."""
    below = SOURCE in page.parents
    return str(page.relative_to(SOURCE if below else TREE))


def commands(page: Path) -> list[Command]:
    return list(_commands(name(page), page.read_text().splitlines()))


def _commands(page: str, lines: list[str]) -> Iterator[Command]:
    for block in _blocks(lines):
        command = None
        for number, line in block:
            if command and command.text.endswith("\\"):
                command.text += f"\n{line}"
            elif command and line.startswith("> "):
                command.text += f"\n{line[2:]}"
            elif line.startswith(("$ ", "# ")):
                if command:
                    yield command
                command = Command(page, number, line[2:])
            else:
                assert command, f"{page}:{number}: no command before {line!r}"
                command.shown.append(line)
        if command:
            yield command


def _blocks(lines: list[str]) -> Iterator[list[tuple[int, str]]]:
    """The lines of each console block with their numbers, without indentation."""
    for start, line in enumerate(lines):
        if match := _DIRECTIVE.match(line):
            yield list(_indented(lines, start + 1, len(match[1])))


def _indented(lines: list[str], start: int, less: int) -> Iterator[tuple[int, str]]:
    indent = None
    for number, line in enumerate(lines[start:], start + 1):
        depth = len(line) - len(line.lstrip())
        if not line.strip() or (indent is None and line.lstrip().startswith(":")):
            continue
        if depth <= less:
            return
        indent = depth if indent is None else indent
        yield number, line[indent:]


def essence(line: str) -> str:
    """A line without what differs from run to run: widths, borders, UUIDs."""
    line = re.sub(r"^[+|=\-\s]+$", "", line).replace("|", " ")
    return " ".join(_UUID.sub("<uuid>", line).split())


def not_shown(expected: Iterable[str], actual: str) -> list[str]:
    """The lines that ``actual`` does not have, or not in that order.

    ``...`` in a line stands for anything.
    """
    left = iter([essence(line) for line in actual.splitlines()])
    missing = []
    for line in filter(None, map(essence, expected)):
        pattern = ".*".join(map(re.escape, line.split("...")))
        if not any(re.fullmatch(pattern, found) for found in left):
            missing.append(line)
    return missing


class Outcome(NamedTuple):
    status: int
    output: str


class Shell:
    """One bash: what a command sets is there for the next one."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._output = folder / ".output"
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._bash:  # closes its pipes, and waits
            self._bash.kill()

    def run(self, text: str) -> Outcome:
        assert self._bash.stdin and self._bash.stdout
        line = f"{{\n{text}\n}} >{self._output} 2>&1 </dev/null; echo $?\n"
        self._bash.stdin.write(line)
        self._bash.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._bash.stdout, selectors.EVENT_READ)
            assert selector.select(TIMEOUT), f"not done in {TIMEOUT} s: {text}"
        status = self._bash.stdout.readline()
        output = self._output.read_text()
        assert status, f"the shell has ended: {text}\n{output}"
        return Outcome(int(status), output)

    def do(self, text: str) -> None:
        """What the manual takes for granted."""
        outcome = self.run(text)
        assert outcome.status == 0, outcome.output

    def play(self, command: Command, status: int = 0) -> None:
        """Run it as the manual has it; fail if it does not show what is shown."""
        outcome = self.run(command.text)
        said = f"{command}\nended with {outcome.status} and said:\n{outcome.output}"
        assert outcome.status == status, said
        missing = not_shown(command.shown, outcome.output)
        assert not missing, f"{said}\nbut not:\n" + "\n".join(missing)
