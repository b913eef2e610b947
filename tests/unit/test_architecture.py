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

"""The arrows of the design: shells to edges to core, never back."""

import ast
import pathlib

import pytest

import sev_driver

PACKAGE = pathlib.Path(sev_driver.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

#: What each ring may import besides the standard library and itself.
CORE = {"lxml", "os_traits"}
EDGES: dict[str, set[str]] = {
    "answers": set(),
    "conf": {"oslo_config"},
    "doctor.cloud_session": {"keystoneauth1", "openstack"},
    "doctor.gather": set(),
    "doctor.libvirt_questions": set(),
    "doctor.nova_compute": set(),
    "doctor.reading": set(),
    "files": set(),
    "firmware_folders": set(),
    "host": {"libvirt"},
    "kernel": set(),
    "monitoring_options": {"oslo_config"},
    "slot_options": {"oslo_config"},
    "textfile": {"prometheus_client"},
}
SHELLS = {
    "audit",
    "driver",
    "forbidden_operations",
    "guest",
    "guest_request",
    "holders",
    "ledger",
    "leftovers",
    "monitoring",
    "moves",
    "provider_update",
    "providers",
    "refusal_counts",
    "releases",
    "running",
    "start",
    "strangers",
    "translate",
    "watch",
    "withdrawal",
}


def imports(path: pathlib.Path) -> set[str]:
    """Return the modules that ``path`` imports, ours as sev_driver.NAME."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            # "from sev_driver import a" and "from sev_driver.doctor import a"
            if module in ("sev_driver", "sev_driver.doctor"):
                found.update(f"{module}.{alias.name}" for alias in node.names)
            else:
                found.add(module)
    return found


def name(path: pathlib.Path) -> str:
    """Return a module's name within the package, such as doctor.finding."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def ring(path: pathlib.Path) -> str:
    if path.parent.name == "cmd" or name(path) in SHELLS:
        return "shell"
    return "edge" if name(path) in EDGES else "core"


def own(names: set[str]) -> set[str]:
    ours = (n for n in names if n.startswith("sev_driver."))
    return {n.removeprefix("sev_driver.") for n in ours}


def foreign(names: set[str]) -> set[str]:
    import sys

    tops = {name.partition(".")[0] for name in names}
    return tops - set(sys.stdlib_module_names) - {"sev_driver"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: pathlib.Path) -> None:
    names = imports(path)
    kind = ring(path)
    if kind == "core":
        assert foreign(names) <= CORE
        assert not own(names) & (SHELLS | set(EDGES))
    elif kind == "edge":
        assert foreign(names) <= CORE | EDGES[name(path)]
        assert not own(names) & SHELLS
    if path.stem != "host":
        assert "libvirt" not in foreign(names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_stay_small(path: pathlib.Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_it_runs_on_the_oldest_python(path: pathlib.Path) -> None:
    """Of setup.cfg: annotations such as ``int | None`` are not evaluated there."""
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    annotated = any(
        isinstance(node, ast.FunctionDef | ast.AnnAssign) for node in ast.walk(tree)
    )
    lazily = "__future__" in imports(path)
    assert lazily or not annotated
