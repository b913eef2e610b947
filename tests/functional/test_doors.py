# SPDX-License-Identifier: Apache-2.0

"""The table of doors, held against the source of the Nova that is installed."""

import ast
import collections
import functools
import pathlib
from collections.abc import Iterator, Mapping

import nova
import novas
import pytest
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import guest as libvirt_guest

from sev_driver.compute import doors
from sev_driver.compute.doors import Check, Door
from sev_driver.compute.guarded_guest import GuardedGuest
from sev_driver.driver import SEVDriver

NOVA = pathlib.Path(nova.__file__).parent
MANUAL = pathlib.Path(__file__).parents[2] / "doc/source/admin/never-in-the-clear.rst"

#: Other things that are spawned, created or attached.
NO_GUEST = {"utils", "thread_pool_factory", "dev", "LibvirtEventHandler", "encryptor"}
#: Callers that later releases no longer have, and the last that may have them.
GONE = {"manager.soft_delete_instance": 30}


def attributes(
    node: ast.AST, function: str | None = None
) -> Iterator[tuple[str | None, str, str]]:
    """Yield the function or method, the receiver and the name of each ``a.b``."""
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.FunctionDef) and function is None:
            inside = child.name
        if isinstance(child, ast.Attribute):
            yield inside, ast.unparse(child.value), child.attr
        yield from attributes(child, inside)


@functools.cache
def calls() -> Mapping[str, frozenset[str]]:
    """Return who uses each name: what is passed on is called as well."""
    found = collections.defaultdict(set)
    sources = [*(NOVA / "virt/libvirt").rglob("*.py"), NOVA / "compute/manager.py"]
    for path in sources:
        of_the_manager = path.stem == "manager"
        for function, receiver, name in attributes(ast.parse(path.read_text())):
            at_the_driver = (receiver == "self.driver") == of_the_manager
            if at_the_driver and receiver not in NO_GUEST:
                found[name].add(f"{path.stem}.{function}")
    return {name: frozenset(callers) for name, callers in found.items()}


def last(method: str) -> str:
    return method.rpartition(".")[2]


TABLE = {
    **{last(door.method): frozenset(door.callers) for door in doors.DOORS},
    **{name: frozenset(callers) for name, callers in doors.SEAMS.items()},
}


@pytest.mark.parametrize("name", TABLE)
def test_nova_has_no_door_that_the_table_lacks(name: str) -> None:
    novas_own = calls().get(name, frozenset())
    if name == "suspend":
        novas_own -= {"guest.pause"}  # libvirt's name of a pause
    assert novas_own <= TABLE[name]


@pytest.mark.parametrize("name", TABLE)
def test_the_table_names_no_door_of_the_past(name: str) -> None:
    gone = {caller for caller, release in GONE.items() if release < novas.RELEASE}
    here = calls().get(name, frozenset())
    assert TABLE[name] - set(GONE) <= here
    assert not gone & here


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.method)
def test_the_driver_stands_at_every_door(door: Door) -> None:
    ours, novas_own = SEVDriver, libvirt_driver.LibvirtDriver
    if door.method.startswith("Guest."):
        ours, novas_own = GuardedGuest, libvirt_guest.Guest
    name = last(door.method)
    assert callable(getattr(novas_own, name))
    assert getattr(ours, name) is not getattr(novas_own, name)


def test_every_caller_of_a_seam_is_in_the_table() -> None:
    """What is no door itself ends in a call of Guest that GuardedGuest guards."""
    guarded = {
        "_live_migration_operation",
        "_live_snapshot",
        "_swap_volume",
        "resume",
    }
    callers = {last(c) for callers in doors.SEAMS.values() for c in callers}
    assert callers <= set(TABLE) | guarded


def rows() -> dict[str, list[str]]:
    """Return the cells of the manual's table of doors, by their first."""
    page = MANUAL.read_text().partition(".. doors-begin")[2]
    page = page.partition(".. doors-end")[0]
    found: dict[str, list[str]] = {}
    for row in page.split("   * - ")[2:]:
        title, *cells = (" ".join(cell.split()) for cell in row.split("     - "))
        found[title] = cells
    return found


WORDS = {
    doors.Refusal.BUILD: "build",
    doors.Refusal.OPERATION: "operation",
    doors.Refusal.ROLLBACK: "rollback",
    doors.Refusal.LIVE_MIGRATION: "live migration",
}


def test_the_manual_has_the_same_table() -> None:
    expected = {
        f"{door.title}: ``{door.method}``": [
            ", ".join(check.value for check in Check if check in door.checks),
            WORDS[door.refusal],
        ]
        for door in doors.DOORS
    }
    assert rows() == expected
