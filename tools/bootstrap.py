# SPDX-License-Identifier: Apache-2.0

"""From a bare clone to a .venv in it that can run everything; safe to repeat.

Needs only Python's standard library. The Makefile calls it when .venv/ready is
missing or older than the lists it was made from.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import progress

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
READY = VENV / "ready"
LOG = VENV / "bootstrap.log"
CONSTRAINTS = ROOT / "constraints" / "nova-34.txt"
#: Those of setup.cfg that only some need.
EXTRAS = {"network", "volumes"}
PIP_NAMES = r"\s*(?:Collecting|Building editable for|Building wheel for) ([\w.-]+)"


def main() -> int:
    """Make the virtual environment; say at the end how long it took."""
    if sys.version_info < (3, 11):  # noqa: UP036 (nothing has checked it yet)
        version = ".".join(map(str, sys.version_info[:2]))
        raise SystemExit(
            f"Python 3.11 or newer is needed; {sys.executable} is {version}"
        )
    if profiles := sys.argv[1:]:
        add_profiles(profiles)
        return 0
    start = time.monotonic()
    READY.unlink(missing_ok=True)
    make_venv()
    pip("build tools", "setuptools", "wheel", "pbr", "bindep")
    install_system_packages(missing_system_packages())
    # Sources are built with the pinned setuptools, not with the newest one.
    project = f"{ROOT}[test,cloud,docs,doctor,metrics,owner]"
    pip("Python packages", "--no-build-isolation", "--editable", project)
    compile_packages()
    READY.touch()
    progress.say(f"set up in {time.monotonic() - start:.0f} s")
    return 0


def add_profiles(profiles: Sequence[str]) -> None:
    """Add to a ready set-up what only some need.

    :param profiles: bindep's, for system packages, or among EXTRAS.
    """
    install_system_packages(missing_system_packages(*profiles))
    extras = EXTRAS & set(profiles)
    for extra in extras:
        project = f"{ROOT}[{extra}]"
        name = f"Python packages for {extra}"
        pip(name, "--no-build-isolation", "--editable", project)
    if extras:
        compile_packages()
    for profile in profiles:
        READY.with_name(f"{READY.name}-{profile}").touch()


def make_venv() -> None:
    """Create .venv, unless a working one is there."""
    if works(VENV / "bin" / "python"):
        return
    if not has_venv():
        install_system_packages(["python3-venv"])
    progress.say(f"virtual environment with {sys.executable}")
    python = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    subprocess.run(python, check=True)


def works(python: Path) -> bool:
    """Whether that interpreter starts, is this version and has pip."""
    if not python.exists():
        return False
    code = f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def has_venv() -> bool:
    """Whether this Python can make an environment (Debian splits that off)."""
    with contextlib.suppress(ImportError):
        import ensurepip
        import venv

        return bool(ensurepip and venv)
    return False


def missing_system_packages(*profiles: str) -> list[str]:
    """Ask bindep which packages of bindep.txt are not installed."""
    bindep = str(VENV / "bin" / "bindep")
    command = [bindep, "--brief", "--file", str(ROOT / "bindep.txt"), *profiles]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode and not answer.stdout:
        raise SystemExit("bindep could not read this system's packages; see above")
    return list(answer.stdout.split())


def install_system_packages(packages: Sequence[str]) -> None:
    """Have apt install packages, as root or with sudo."""
    if not packages:
        return
    by_hand = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if not shutil.which("apt-get"):
        raise SystemExit("no apt-get here; install what matches: " + by_hand)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    if as_root and not shutil.which("sudo"):
        raise SystemExit(f"neither root nor sudo here; as root: {by_hand}")
    progress.say(f"system packages: {len(packages)} missing")
    VENV.mkdir(exist_ok=True)
    script = str(ROOT / "tools" / "apt_install.py")
    command = [*as_root, sys.executable, "-B", script, str(LOG), *packages]
    subprocess.run(command, check=True)


def pip(what: str, *arguments: str) -> None:
    """Install with pip under the constraints."""
    progress.say(what)
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--no-compile"]
    command += ["--constraint", str(CONSTRAINTS), *arguments]
    progress.run(command, LOG, PIP_NAMES, dict(os.environ) | version_settings())


def compile_packages() -> None:
    """Compile on all cores what pip would compile on one; not what only tests."""
    progress.say("compiling them")
    site = next((VENV / "lib").glob("python3.*/site-packages"))
    command = [str(VENV / "bin" / "python"), "-m", "compileall"]
    command += ["-j", "0", "-x", "/tests?/", str(site)]
    names = r"Compiling '.*/site-packages/(\w+)/__init__\.py'"
    progress.run(command, LOG, names, dict(os.environ, PYTHONUNBUFFERED="1"))


def version_settings() -> dict[str, str]:
    """What pbr needs to read the version: git's consent, or a stand-in for git."""
    if not (ROOT / ".git").exists():
        return {"PBR_VERSION": os.environ.get("PBR_VERSION", "0.0.0")}
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": str(ROOT),
    }


if __name__ == "__main__":
    progress.finish(main)
