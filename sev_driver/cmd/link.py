# SPDX-License-Identifier: Apache-2.0

"""sev-driver-link: make the driver loadable where Nova sits somewhere else.

nova-compute looks for ``compute_driver = sev_driver.SEVDriver`` as
``nova.virt.sev_driver``, in Nova's own folder and nowhere else. Where pip has put
sev_driver into another folder (Nova from a distribution's packages), one file in
Nova's folder closes the gap. This writes it, checks it and removes it.

A file there is sturdier than an import hook in a ``.pth``: it is plain to see, costs
other Python programs nothing, and stays when Nova is upgraded.

It imports nothing of sev_driver, so that it can be run by its path as well.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

DRIVER = "nova.virt.sev_driver.SEVDriver"
MODULE = "nova.virt.sev_driver"
MARK = "# Written by sev-driver-link; sev-driver-link --remove takes it away."
LINK = f'''{MARK}
"""Where nova-compute looks for ``compute_driver = sev_driver.SEVDriver``."""

from sev_driver.driver import SEVDriver

__all__ = ["SEVDriver"]
'''


#: How Python says that a module lacks a name.
_TOO_OLD = re.compile(
    r"module '([\w.]{1,80})' has no attribute"
    r"|cannot import name '\w{1,80}' from '([\w.]{1,80})'"
)


class LinkError(Exception):
    """The driver cannot be loaded or linked; the text says why and what to do."""


#: What knows the package of a file, and what installs and removes packages there.
_PACKAGES = (
    (("dpkg-query", "--search"), ("apt-get",)),
    (("rpm", "--query", "--queryformat", "%{NAME}", "--file"), ("dnf", "zypper")),
)
_PATH = "/usr/bin:/bin"


@dataclass(frozen=True)
class Package:
    """A distribution's package, and the program that installs and removes it."""

    name: str
    manager: str

    def __str__(self) -> str:
        return f"the package {self.name}"


@dataclass(frozen=True)
class Places:
    """Where this Python finds Nova and sev_driver."""

    nova: Path
    sev_driver: Path

    @property
    def link(self) -> Path:
        """The one file."""
        return self.nova / "virt" / "sev_driver" / "__init__.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    # Nova's imports warn about things an operator can do nothing about.
    warnings.simplefilter("ignore")
    try:
        places = find_places()
        _say(f"Nova        {_version('nova'):12} {places.nova}")
        _say(f"sev_driver  {_version('sev_driver'):12} {places.sev_driver}")
        if options.remove:
            remove(places)
        elif options.check:
            check(places)
        else:
            link(places)
    except LinkError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    """Print a line; a reader that goes away, such as ``head``, is no error.

    :raises LinkError: it cannot be written
    """
    try:
        print(line, flush=True)
    except OSError as error:
        # Python would report the same error once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise LinkError(
                f"The output cannot be written: {error.strerror}."
            ) from error


def find_places() -> Places:
    """Find Nova and sev_driver without importing them."""
    nova, ours = _folder("nova"), _folder("sev_driver")
    if nova is None:
        raise LinkError(
            f"Nova is not installed for {sys.executable}.\n"
            "Run this with the Python that runs nova-compute:\n"
            f"    {_python_of_nova_compute()} -m sev_driver.cmd.link --check"
        )
    if ours is None:
        raise LinkError(
            f"sev_driver is not installed for {sys.executable}, which has Nova in\n"
            f"{nova}. Install it{_install(nova)}"
        )
    return Places(nova, ours)


def check(places: Places) -> None:
    """Import the driver as nova-compute does.

    :raises LinkError: it fails
    """
    importlib.invalidate_caches()
    try:
        # The driver is a subclass of it.
        importlib.import_module("nova.virt.libvirt.driver")
    except Exception as error:
        raise LinkError(_explain_nova(error)) from error
    try:
        # What nova.virt.driver.load_compute_driver calls.
        from nova.virt.driver import ComputeDriver
        from oslo_utils import importutils

        found = importutils.import_class(DRIVER)
    except Exception as error:
        raise LinkError(_explain(places, error)) from error
    if not (isinstance(found, type) and issubclass(found, ComputeDriver)):
        raise LinkError(f"{DRIVER} is {found!r}, which is no compute driver.")
    _say(f"nova-compute can load compute_driver = {DRIVER.removeprefix('nova.virt.')},")
    _say(f"from {sys.modules[MODULE].__file__}")


def link(places: Places) -> None:
    """Write the one file where it is needed, then check."""
    if _spec_exists():
        _say("Nothing to link: Nova finds the driver.")
    else:
        try:
            places.link.parent.mkdir(exist_ok=True)
            places.link.write_text(LINK)
        except OSError as error:
            raise LinkError(
                f"Cannot write {places.link}: {error.strerror}.\n"
                "Run this as a user who may change Nova's folder, mostly root."
            ) from error
        _say(f"Wrote {places.link}")
    check(places)


def remove(places: Places) -> None:
    """Remove the one file, and what Python has compiled from it."""
    if not places.link.exists():
        _say(f"Nothing to remove: there is no {places.link}")
        return
    if MARK not in places.link.read_text():
        raise LinkError(
            f"{places.link} was not written by sev-driver-link, but came with\n"
            f"sev_driver, and is removed with it.{_uninstall(places.link)}"
        )
    try:
        shutil.rmtree(places.link.parent)
    except OSError as error:
        raise LinkError(f"Cannot remove {places.link}: {error.strerror}.") from error
    _say(f"Removed {places.link}")


def _explain(places: Places, error: Exception) -> str:
    """Say why nova-compute cannot load the driver, and what to do about it."""
    said = (
        f"nova-compute cannot load the driver:\n    {type(error).__name__}: {error}\n"
    )
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing == MODULE:
        return said + (
            "Nova looks for it in its own folder only, and sev_driver is in another.\n"
            "Let it be found, as root:\n"
            f"    {sys.executable} -m sev_driver.cmd.link\n"
            f"That writes one file, {places.link}"
        )
    if missing == "sev_driver":
        return (
            said + f"{places.link} is left over from a removed sev_driver; remove it."
        )
    if missing:
        return said + (
            f"The driver was found, but the module {missing}, which it needs, is not\n"
            f"installed for {sys.executable}. Install it."
        )
    return said + "The driver was found, but its import fails."


def _explain_nova(error: Exception) -> str:
    """Say why Nova itself cannot be imported, and what to do about it."""
    said = (
        f"Nova itself cannot be imported; sev_driver is not the cause:\n"
        f"    {type(error).__name__}: {error}\n"
    )
    if isinstance(error, ModuleNotFoundError):
        return said + f"Install {error.name} for {sys.executable}."
    if old := _TOO_OLD.search(str(error)):
        module = (old[1] or old[2]).partition(".")[0]
        distribution = module.replace("_", "-")
        return said + (
            f"{distribution} {_version(distribution)} is older than this Nova needs.\n"
            f"{_upgrade(module, distribution)}"
        )
    return said + "Repair the installation of Nova."


def _install(nova: Path) -> str:
    """Say how sev_driver is installed beside a Nova, from "Install it" on."""
    if package := _package(nova / "__init__.py"):
        return (
            f" as the manual says in\n"
            f'"Nova from packages": {nova} belongs to {package}.'
        )
    return (
        " with that Python:\n"
        f"    {sys.executable} -m pip install --no-deps sev_driver-*.whl"
    )


def _uninstall(link: Path) -> str:
    """Say how sev_driver is uninstalled, by the program that installed it."""
    if package := _package(link):
        return (
            f" Remove the package {package.name}:\n"
            f"    {package.manager} remove {package.name}"
        )
    installer = _installer("sev_driver")
    if installer == "pip":
        return (
            f" Uninstall it with pip:\n    {sys.executable} -m pip uninstall sev_driver"
        )
    return f" Uninstall it with {installer or 'the program that installed it'}."


def _upgrade(module: str, distribution: str) -> str:
    """Say how a module that is too old is upgraded."""
    spec = importlib.util.find_spec(module)
    package = _package(Path(spec.origin)) if spec and spec.origin else None
    if package:
        return (
            f"Upgrade the package {package.name}:\n"
            f"    {package.manager} install {package.name}"
        )
    return (
        "Install the version that Nova's requirements.txt names:\n"
        f"    {sys.executable} -m pip install --upgrade {distribution}"
    )


def _package(file: Path) -> Package | None:
    """Return the distribution's package that a file came with, None without one."""
    for (program, *arguments), managers in _PACKAGES:
        path = shutil.which(program, path=_PATH)
        if path is None:
            continue
        asked = subprocess.run(
            [path, *arguments, str(file)],
            capture_output=True,
            text=True,
            errors="replace",
        )
        # dpkg-query: "python3-nova: /usr/lib/python3/dist-packages/nova/__init__.py"
        name = asked.stdout.partition(":")[0].strip()
        if asked.returncode == 0 and re.fullmatch(r"[\w.+-]{1,100}", name):
            here = (each for each in managers if shutil.which(each, path=_PATH))
            return Package(name, next(here, managers[0]))
    return None


def _installer(distribution: str) -> str:
    """Return the name of the program that installed a distribution, "" if unknown."""
    try:
        found = importlib.metadata.distribution(distribution).read_text("INSTALLER")
    except importlib.metadata.PackageNotFoundError:
        return ""
    name = (found or "").strip()
    return name if re.fullmatch(r"[\w.+-]{1,40}", name) else ""


def _spec_exists() -> bool:
    """Return whether Python finds the module, even if its import fails."""
    try:
        return importlib.util.find_spec(MODULE) is not None
    except Exception as error:
        raise LinkError(f"Nova itself cannot be imported: {error}") from error


def _folder(package: str) -> Path | None:
    """Return the directory of an installed package; None for a mere namespace."""
    spec = importlib.util.find_spec(package)
    # The wheel's nova/ has no __init__.py: without Nova it is an empty namespace.
    return Path(spec.origin).parent if spec and spec.origin else None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _python_of_nova_compute() -> str:
    """Read it from the first line of the nova-compute on PATH, if there is one."""
    script = shutil.which("nova-compute")
    if script is None:
        return "PYTHON"
    if not os.path.isfile(script):
        return "PYTHON"
    with open(script, "rb") as file:
        first = file.readline(200).decode(errors="replace").strip()
    named = first.startswith("#!/") and first.isprintable()
    return first.removeprefix("#!") if named else "PYTHON"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sev-driver-link",
        description="Let nova-compute find sev_driver where the two are installed in "
        "different places. Run it with the Python that runs nova-compute.",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"sev-driver-link {_version('sev_driver')}",
        help="print the version of sev_driver and exit",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check",
        action="store_true",
        help="only check whether nova-compute can load the driver",
    )
    what.add_argument(
        "--remove",
        action="store_true",
        help="remove the file that sev-driver-link wrote",
    )
    return parser


def _run() -> NoReturn:
    """Run as a program of its own, in half the time that :func:`main` takes.

    Nova's modules are many objects, all of which stay until the end. Python need not
    look for garbage among them meanwhile, nor take them apart before it exits.
    """
    gc.disable()
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _run()
