# SPDX-License-Identifier: Apache-2.0
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
#: A whole file may show a row, too.
FILE = re.compile(r"``tests/[\w/]+\.py``")
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
    """The last cell of each row but the headers', outside of the table of doors."""
    text = (ADMIN / table).read_text()
    # tests/functional/test_doors.py compares that one with the code.
    text = re.sub(r"\.\. doors-begin.*\.\. doors-end", "", text, flags=re.DOTALL)
    rows = re.split(r"\n   \* - ", text)[1:]
    cells = [re.split(r"\n     - ", row)[-1] for row in rows]
    return [cell for cell in cells if not re.match(r"Test$", cell.strip())]


@pytest.mark.parametrize(("file", "function"), named())
def test_a_named_test_exists(file: str, function: str) -> None:
    module = ast.parse((TREE / file).read_text())
    found = (ast.FunctionDef, ast.ClassDef)
    assert function in [node.name for node in module.body if isinstance(node, found)]


@pytest.mark.parametrize("table", TABLES)
def test_each_row_names_a_test_or_says_why_not(table: str) -> None:
    assert len(rows(table)) > 30
    for cell in rows(table):
        shown = NAMED.search(cell) or FILE.search(cell)
        assert shown or cell.startswith(EXCUSES), cell
