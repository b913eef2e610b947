# SPDX-License-Identifier: Apache-2.0

"""Write etc/bash_completion.d: what bash completes of the console scripts' options.

``completion.py`` writes one file for each console script, as ``shtab`` derives it from
the script's argparse parser. bash-completion reads a file by the name of the program.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "etc" / "bash_completion.d"
_HEADER = "# SPDX-License-Identifier: Apache-2.0\n# Written by tools/completion.py.\n"
#: What an option's value is, by its metavar in the help.
_VALUES = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


def main() -> int:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for program, text in files().items():
        (FOLDER / program).write_text(text)
    return 0


def files() -> dict[str, str]:
    """Return the text of each file by the name of its program."""
    from sev_driver.cmd import capabilities, doctor, link, owner

    parsers = tuple(each._parser() for each in (capabilities, doctor, link, owner))
    return {parser.prog: _text(parser) for parser in parsers}


def _text(parser: argparse.ArgumentParser) -> str:
    from sev_driver.model import MemoryEncryptionModel

    for action in _actions(parser):
        if action.metavar in _VALUES:
            action.complete = _VALUES[action.metavar]  # type: ignore[attr-defined]
        elif action.metavar == "MODEL":
            action.choices = [model.value for model in MemoryEncryptionModel]
    # The first paragraph says where users of shtab copy the file to.
    _, _, code = shtab.complete(parser, "bash").partition("\n\n")
    return _HEADER + code.rstrip("\n") + "\n"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


if __name__ == "__main__":
    sys.exit(main())
