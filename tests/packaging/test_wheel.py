# SPDX-License-Identifier: Apache-2.0

"""What the wheel holds, and that Nova finds the driver in it."""

import zipfile
from pathlib import Path

from installations import ROOT, Install

ENTRY_POINTS = """
from importlib.metadata import distribution
for point in distribution("sev_driver").entry_points:
    print(point.group, point.name, point.load().__name__)
"""


def test_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    # Completion for bash, of which tests/packaging/test_completion.py speaks.
    completion = {name for name in names if "/bash-completion/completions/" in name}
    code = {name for name in names - completion if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for kind in ("*.py", "*.json")
        for path in (ROOT / "sev_driver").rglob(kind)
    }
    assert "sev_driver/doctor/schema.json" in expected
    # Not nova/__init__.py, nor nova/virt/__init__.py: they would shadow Nova's.
    assert code == expected | {"nova/virt/sev_driver/__init__.py"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_wheel_leaves_nova_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    needed = [
        line.removeprefix("Requires-Dist: ")
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]
    assert needed
    assert not [line for line in needed if line.startswith("nova")]
    assert "License: Apache-2.0" in metadata


def test_nova_loads_the_driver_beside_it(install: Install) -> None:
    both = install("together")
    loaded = both.load()
    assert loaded.returncode == 0, loaded.stderr
    assert Path(loaded.stdout.strip()) == both.nova / "virt/sev_driver/__init__.py"


def test_entry_points_resolve(install: Install) -> None:
    found = install("together").run("-W", "ignore", "-c", ENTRY_POINTS)
    assert found.returncode == 0, found.stderr
    assert set(found.stdout.splitlines()) >= {
        "oslo.config.opts sev_driver list_opts",
        "console_scripts sev-capabilities main",
        "console_scripts sev-owner main",
        "console_scripts sev-doctor main",
        "console_scripts sev-driver-link main",
    }


def test_uninstalling_leaves_nova_as_it_was(install: Install) -> None:
    both = install("together")
    both.pip("uninstall", "--yes", "sev_driver")
    assert not (both.nova / "virt" / "sev_driver" / "__init__.py").exists()
    assert (both.nova / "virt" / "driver.py").exists()
    gone = both.load()
    assert gone.returncode == 1
    assert "No module named 'nova.virt.sev_driver'" in gone.stderr
