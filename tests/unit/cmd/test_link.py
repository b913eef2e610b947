# SPDX-License-Identifier: Apache-2.0

"""sev-driver-link: what it says of a Nova that cannot be imported, and of removal."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from sev_driver.cmd import link


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            AttributeError("module 'os_traits' has no attribute 'HW_CPU_X86_AMXBF16'"),
            ["os-traits ", "is older than this Nova needs", "--upgrade os-traits"],
        ),
        (
            ImportError("cannot import name 'x' from 'oslo_utils.y' (/usr/lib/y.py)"),
            ["oslo-utils ", "is older than this Nova needs"],
        ),
        (
            ModuleNotFoundError("No module named 'webob'", name="webob"),
            ["Install webob for "],
        ),
        (ValueError("odd"), ["ValueError: odd", "Repair the installation of Nova."]),
    ],
)
def test_nova_that_cannot_be_imported_is_not_the_drivers_fault(
    error: Exception, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(link.importlib, "import_module", fail)
    with pytest.raises(link.LinkError) as caught:
        link.check(link.find_places())
    words = str(caught.value)
    assert words.startswith("Nova itself cannot be imported; sev_driver is not the")
    assert all(each in words for each in said)


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files came with Debian's packages."""
    package = link.Package("python3-all-of-it", "apt-get")
    monkeypatch.setattr(link, "_package", lambda file: package)


def installed_by(
    installer: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> link.Places:
    """Install a sev_driver that ``installer`` says it has installed."""
    info = folder / "sev_driver-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: sev_driver\nVersion: 1.0.0\n")
    if installer is not None:
        (info / "INSTALLER").write_text(f"{installer}\n")
    found = importlib.metadata.PathDistribution(info)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: found)
    places = link.Places(folder / "nova", folder / "sev_driver")
    places.link.parent.mkdir(parents=True)
    places.link.write_text("from sev_driver.driver import SEVDriver\n")
    return places


@pytest.mark.parametrize(
    ("installer", "said"),
    [
        ("pip", f"    {sys.executable} -m pip uninstall sev_driver"),
        ("uv", "Uninstall it with uv."),
        (None, "Uninstall it with the program that installed it."),
        ("not\na name", "Uninstall it with the program that installed it."),
    ],
)
def test_file_of_the_wheel_goes_by_what_installed_it(
    installer: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = installed_by(installer, tmp_path, monkeypatch)
    with pytest.raises(link.LinkError) as caught:
        link.remove(places)
    assert str(caught.value).endswith(said)
    assert places.link.exists()


def test_file_of_a_package_goes_with_the_package(
    packaged: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Debian's packages keep no INSTALLER; one that does is still no pip's.
    places = installed_by("pip", tmp_path, monkeypatch)
    with pytest.raises(link.LinkError) as caught:
        link.remove(places)
    assert "apt-get remove python3-all-of-it" in str(caught.value)
    assert "pip" not in str(caught.value)


def test_old_module_of_a_package_is_upgraded_by_its_manager(
    packaged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise AttributeError("module 'os_traits' has no attribute 'HW_CPU_X86_AMXBF16'")

    monkeypatch.setattr(link.importlib, "import_module", fail)
    with pytest.raises(link.LinkError) as caught:
        link.check(link.find_places())
    assert "apt-get install python3-all-of-it" in str(caught.value)
    assert "pip" not in str(caught.value)


def test_driver_missing_beside_a_packaged_nova_is_installed_as_there(
    packaged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {"nova": Path("/usr/lib/python3/dist-packages/nova"), "sev_driver": None}
    monkeypatch.setattr(link, "_folder", folders.get)
    with pytest.raises(link.LinkError) as caught:
        link.find_places()
    assert '"Nova from packages"' in str(caught.value)
    assert "belongs to the package python3-all-of-it." in str(caught.value)


def test_package_of_a_file_is_what_the_distribution_says(tmp_path: Path) -> None:
    found = link._package(Path("/usr/bin/dpkg-query"))
    assert found == link.Package("dpkg", "apt-get")
    ours = tmp_path / "of no package"
    ours.touch()
    assert link._package(ours) is None
    assert link._package(tmp_path / "missing") is None


def test_program_of_its_own_prints_all_and_exits_with_the_status() -> None:
    """sev-doctor runs it so: from its standard input, by the Python of nova-compute."""
    command = [sys.executable, "-I", "-S", "-", "--check"]
    source = Path(link.__file__).read_text()
    ended = subprocess.run(command, input=source, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"Nova is not installed for {sys.executable}." in ended.stderr
