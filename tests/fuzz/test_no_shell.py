# SPDX-License-Identifier: Apache-2.0
"""No shell anywhere: no word of others is ever read as a command."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
FOLDERS = ("sev_driver", "nova", "devcloud", "tools", "fuzz", "soak", "benchmarks")
FILES = sorted(path for folder in FOLDERS for path in (TREE / folder).rglob("*.py"))

#: Each hands its text to a shell.
_SHELLS = frozenset(
    {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}
)
_MODULES = frozenset({"os", "subprocess", "asyncio"})
_PROGRAMS = frozenset({"sh", "bash", "dash", "/bin/sh", "/bin/bash"})


def shells(source: str) -> Iterator[str]:
    """Yield what starts a shell, with its line."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in _MODULES and node.attr in _SHELLS:
                yield f"{line}: {node.attr}"
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if node.module in _MODULES and names & _SHELLS:
                yield f"{line}: {names & _SHELLS}"
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                yield f"{line}: shell="
        elif isinstance(node, ast.List | ast.Tuple):
            words = [e.value for e in node.elts if isinstance(e, ast.Constant)]
            if len(words) > 1 and words[0] in _PROGRAMS and words[1] == "-c":
                yield f"{line}: {words[0]} -c"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TREE)))
def test_no_shell_is_started(path: Path) -> None:
    assert list(shells(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run('ls', shell=True)",
        "subprocess.Popen(x, shell=flag)",
        "os.system('ls')",
        "os.popen('ls')",
        "from os import system as run",
        "subprocess.getoutput('ls')",
        "asyncio.create_subprocess_shell('ls')",
        "subprocess.run(['sh', '-c', text])",
    ],
)
def test_each_way_to_a_shell_is_seen(source: str) -> None:
    assert list(shells(source))
