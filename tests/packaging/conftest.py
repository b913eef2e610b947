# SPDX-License-Identifier: Apache-2.0

"""The wheel, and clean environments to install it in."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from installations import ROOT, Bare, Install, Installation, link_what_is_installed


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as from a clone, with what is not yet committed in it."""
    source = tmp_path_factory.mktemp("source") / "sev_driver"
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", ROOT, source], check=True
    )
    for name in ("sev_driver", "nova", "etc"):
        shutil.rmtree(source / name, ignore_errors=True)
        shutil.copytree(ROOT / name, source / name)
    for file in (
        *ROOT.glob("setup.*"),
        ROOT / "pyproject.toml",
        ROOT / "requirements.txt",
    ):
        shutil.copy(file, source)
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run([*build, "--outdir", out, source], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    """Return a function that installs Nova, without our wheel, in a clean environment.

    Given "together" Nova is in the environment's site-packages. Given "apart" it is
    in another folder of Python's path, as with a distribution's packages.
    """

    def do(how: str) -> Installation:
        venv.create(tmp_path / "venv", with_pip=False)
        python = tmp_path / "venv" / "bin" / "python"
        (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
        packages = site if how == "together" else tmp_path / "dist-packages"
        packages.mkdir(exist_ok=True)
        (site / "distribution.pth").write_text(f"{packages}\n")
        link_what_is_installed(packages)
        return Installation(python, site, packages / "nova")

    return do


@pytest.fixture
def install(bare: Bare, wheel: Path) -> Install:
    """The same, with our wheel in site-packages, where pip puts it."""

    def do(how: str) -> Installation:
        made = bare(how)
        made.pip("install", "--no-deps", "--no-index", wheel)
        return made

    return do
