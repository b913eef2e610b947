# SPDX-License-Identifier: Apache-2.0

"""An environment for each Nova release, in .venv/releases; safe to repeat."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bootstrap
import progress

ROOT = bootstrap.ROOT
CONSTRAINTS = ROOT / "constraints"
FOLDER = bootstrap.VENV / "releases"
#: The newest last; each has a list of packages of its own.
RELEASES = sorted(
    int(path.stem.removeprefix("nova-")) for path in CONSTRAINTS.glob("nova-*.txt")
)
#: The packages of all but the newest are pinned for this one.
PYTHON = "3.11"
NEEDS_PYTHON = f"a python{PYTHON} is needed, which its packages are pinned for"
#: Nova, and what its own functional tests and ours import.
PACKAGES = (
    "nova",
    "openstack-placement",
    "libvirt-python",
    "ddt",
    "fixtures",
    "gabbi",
    "hypothesis",
    "oslotest",
    "pytest",
    "python-subunit",
    "requests-mock",
    "stestr",
    "testtools",
    "wsgi-intercept",
    # For a cloud with MariaDB, and its API.
    "PyMySQL",
    "waitress",
)


def make(release: int, show: bool) -> Path:
    """Return the release's environment, made anew if its list has changed.

    :param release: one that :func:`python` has a Python for.
    :param show: whether to print the names of the packages.
    """
    venv, constraints = FOLDER / f"nova-{release}", CONSTRAINTS / f"nova-{release}.txt"
    ready, key = venv / "ready", _key(constraints)
    if ready.exists() and ready.read_text() == key:
        return venv
    interpreter = str(python(release))
    subprocess.run([interpreter, "-m", "venv", "--clear", str(venv)], check=True)
    # In the environment, so that it also holds where pip builds in isolation:
    # old sources need a setuptools that has pkg_resources.
    settings = dict(os.environ, PIP_CONSTRAINT=str(constraints))
    for packages in (("setuptools", "wheel", "pbr"), PACKAGES):
        _pip(venv, settings, show, *packages)
    ready.write_text(key)
    return venv


def python(release: int) -> str | None:
    """Return a Python that the release's packages are pinned for, None without one."""
    if release == RELEASES[-1] or sys.version.startswith(f"{PYTHON}."):
        return sys.executable
    return shutil.which(f"python{PYTHON}")


def build_wheel() -> Path:
    """Build the one wheel for all of them from this tree."""
    progress.say("the wheel")
    folder = FOLDER / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # setuptools packs what an earlier build has left there.
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet"]
    command += ["--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    command += ["--wheel-dir", str(folder), str(ROOT)]
    settings = dict(os.environ) | bootstrap.version_settings()
    progress.run(command, folder / "log", progress.NO_NAMES, settings)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(venv: Path, wheel: Path, show: bool) -> None:
    """Install the wheel as an operator does: it brings nothing with it.

    With the library of its extra, which needs nothing that Nova does not need.
    """
    _pip(venv, dict(os.environ), show, "--no-deps", "--force-reinstall", str(wheel))
    pins = str(CONSTRAINTS / f"nova-{RELEASES[-1]}.txt")
    settings = dict(os.environ, PIP_CONSTRAINT=pins)
    _pip(venv, settings, show, "--no-deps", "sev-snp-measure")


def _key(constraints: Path) -> str:
    text = f"{sys.version_info[:2]} {PACKAGES} {constraints.read_text()}"
    return hashlib.sha256(text.encode()).hexdigest()


def _pip(venv: Path, settings: dict[str, str], show: bool, *arguments: str) -> None:
    command = [str(venv / "bin" / "python"), "-m", "pip", "install"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", *arguments]
    names = bootstrap.PIP_NAMES if show else progress.NO_NAMES
    progress.run(command, venv / "install.log", names, settings)
