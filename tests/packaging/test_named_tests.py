#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
"""The tables of the manual name tests; each of them is there."""

import ast
import re
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
ADMIN = TREE / "doc/source/admin"
TABLES = ("coverage.rst", "never-in-the-clear.rst")
PAGES = (*TABLES, "faults.rst", "releases.rst")
NAMED = re.compile(r"``(tests/[\w/]+\.py)::(\w+)``")
#: Cells that begin with one of these say why there is no test.
EXCUSES = ("None: ", "No Cinder here", "It is a shell script around ``virsh``")


def named() -> list[tuple[str, str]]:
    found = {
        match.groups()
        for page in PAGES
        for match in NAMED.finditer((ADMIN / page).read_text())
    }
    return sorted((file, function) for file, function in found)


def rows(table: str) -> list[str]:
    """The last cell of each row but the headers'."""
    rows = re.split(r"\n   \* - ", (ADMIN / table).read_text())[1:]
    cells = [re.split(r"\n     - ", row)[-1] for row in rows]
    return [cell for cell in cells if not re.match(r"Test$", cell.strip())]


@pytest.mark.parametrize(("file", "function"), named())
def test_a_named_test_exists(file: str, function: str) -> None:
    module = ast.parse((TREE / file).read_text())
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    assert function in [node.name for node in functions]


@pytest.mark.parametrize("table", TABLES)
def test_each_row_names_a_test_or_says_why_not(table: str) -> None:
    assert len(rows(table)) > 30
    for cell in rows(table):
        assert NAMED.search(cell) or cell.startswith(EXCUSES), cell


def test_files_of_tests_have_names_of_their_own() -> None:
    """pytest imports them by their bare names, all in one process."""
    names = [path.name for path in (TREE / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
