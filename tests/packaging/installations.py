# SPDX-License-Identifier: Apache-2.0

"""Installations of Nova and of our wheel, in the places where they can be."""

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(sysconfig.get_path("purelib"))
OURS = ("sev_driver", "__editable__")

# What nova-compute does at its start, up to the driver's construction.
LOAD = """
import sys, warnings
warnings.simplefilter("ignore")
from nova import config
config.parse_args(["nova-compute"], default_config_files=[])
from nova.virt import driver
from nova.virt.libvirt.driver import LibvirtDriver
loaded = driver.load_compute_driver(None, "sev_driver.SEVDriver")
assert isinstance(loaded, LibvirtDriver)
print(sys.modules["nova.virt.sev_driver"].__file__)
"""


@dataclass(frozen=True)
class Installation:
    """A clean virtual environment with Nova in it or beside it."""

    python: Path
    site: Path
    nova: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python, in a folder that holds no package."""
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.site.parent,
            capture_output=True,
            text=True,
        )

    def load(self) -> subprocess.CompletedProcess[str]:
        """Let Nova load the driver named in nova.conf."""
        return self.run("-c", LOAD)

    def link(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the console script."""
        return self.run(self.python.with_name("sev-driver-link"), *arguments)

    def pip(self, *arguments: str | Path) -> None:
        """Run the tests' pip on this environment, without an index."""
        command = [sys.executable, "-m", "pip", "--python", self.python, *arguments]
        subprocess.run(command, check=True, capture_output=True)


Install = Callable[[str], Installation]
Bare = Install


def link_what_is_installed(target: Path) -> None:
    """Fill target with links to this environment's packages, without ours.

    Nova's own folders are real, so that what is written there stays there.
    """
    for entry in HERE.iterdir():
        if entry.name.startswith(OURS) or entry.suffix == ".pth":
            continue
        if entry.name != "nova":
            (target / entry.name).symlink_to(entry)
    for folder in (Path("nova"), Path("nova/virt")):
        (target / folder).mkdir()
        for entry in (HERE / folder).iterdir():
            if entry.name not in ("virt", "sev_driver"):
                (target / folder / entry.name).symlink_to(entry)
