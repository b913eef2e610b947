# SPDX-License-Identifier: Apache-2.0

"""The arrows of the design: each package imports those below it, never back."""

import ast
import pathlib
import re
import sys
from collections.abc import Iterator

import pytest

import sev_driver

PACKAGE = pathlib.Path(sev_driver.__file__).parent
#: The faces of the packages hold no code.
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")
#: Those below the whole, whose modules stand for themselves.
PACKAGES = sorted(path.parent for path in PACKAGE.glob("*/**/__init__.py"))

GROUND = {"model", "exceptions", "printable", "safe_xml", "nova_release"}
PURE = GROUND | {"host", "guest"}
BELOW_NOVA = PURE | {"measurement", "domain", "placement", "conf", "observability"}
#: What a package may import besides itself. What is not a package is a module.
MAY_IMPORT = {
    "host": GROUND,
    "guest": GROUND | {"host"},
    "domain": PURE,
    "placement": PURE,
    "conf": PURE | {"domain", "placement"},
    "observability": PURE | {"domain", "placement"},
    "doctor": BELOW_NOVA - {"observability"},
    "compute": BELOW_NOVA,
    "cmd": BELOW_NOVA | {"doctor"},
    "driver": BELOW_NOVA | {"compute"},
}

#: Where each library that is not Python's own may be imported: a prefix of the
#: module's dotted name.
LIBRARIES = {
    "nova": ("compute", "driver", "cmd.link"),
    "oslo_log": ("compute", "driver"),
    "oslo_utils": ("compute", "driver", "cmd.link"),
    "cryptography": ("guest.id_block",),
    "libvirt": ("host.libvirt_connection",),
    "oslo_config": ("conf", "doctor.host"),
    "prometheus_client": ("observability.textfile",),
    "openstack": ("doctor.cloud",),
    "keystoneauth1": ("doctor.cloud",),
    "lxml": ("safe_xml", "host.domain_capabilities", "domain", "doctor", "placement"),
    "os_traits": ("model", "placement.providers", "doctor"),
}


def name(path: pathlib.Path) -> str:
    """Return a module's name within the package, such as doctor.findings."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path: pathlib.Path) -> set[str]:
    """Return the dotted names that ``path`` imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def package(module: str) -> str:
    return module.partition(".")[0]


def arrows() -> Iterator[tuple[str, str]]:
    """Yield every import of one of our modules by another package's."""
    for path in MODULES:
        for imported in imports(path):
            top, _, ours = imported.partition(".")
            if top == "sev_driver" and ours and package(ours) != package(name(path)):
                yield name(path), ours


def test_packages_import_only_what_is_below_them() -> None:
    forbidden = [
        f"{module} -> {imported}"
        for module, imported in arrows()
        if package(imported) not in MAY_IMPORT.get(package(module), GROUND)
    ]
    assert not forbidden


def test_libraries_are_imported_where_they_belong() -> None:
    misplaced = []
    for path in MODULES:
        tops = {imported.partition(".")[0] for imported in imports(path)}
        for library in tops - set(sys.stdlib_module_names) - {"sev_driver"}:
            if not name(path).startswith(LIBRARIES.get(library, ())):
                misplaced.append(f"{name(path)} -> {library}")
    assert not misplaced


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_each_package_lists_its_modules(package: pathlib.Path) -> None:
    text = (package / "__init__.py").read_text()
    listed = re.findall(r"^    (\w+)(?:  .*|)$", text, re.MULTILINE)
    modules = [path for path in package.iterdir() if path.suffix == ".py"]
    packages = [path for path in PACKAGES if path.parent == package]
    found = {path.stem for path in (*modules, *packages)} - {"__init__"}
    assert sorted(listed) == sorted(found)


def test_modules_run_on_the_oldest_python() -> None:
    """Of setup.cfg: annotations such as ``int | None`` are not evaluated there."""
    eager = []
    for path in MODULES:
        tree = ast.parse(path.read_text(), feature_version=(3, 9))
        annotated = any(
            isinstance(node, ast.FunctionDef | ast.AnnAssign) for node in ast.walk(tree)
        )
        if annotated and "__future__.annotations" not in imports(path):
            eager.append(name(path))
    assert not eager
