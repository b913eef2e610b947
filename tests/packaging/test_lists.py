# SPDX-License-Identifier: Apache-2.0

"""The lists of packages agree with each other."""

import configparser
import re

from installations import ROOT
from packaging.requirements import Requirement


def read(text: str) -> dict[str, Requirement]:
    """Return the requirements in text by their normal name."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    requirements = [Requirement(line) for line in lines if line]
    return {re.sub("[-_.]+", "-", r.name).lower(): r for r in requirements}


def test_all_that_is_installed_is_pinned() -> None:
    pinned = read((ROOT / "constraints" / "nova-34.txt").read_text())
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    wanted = read((ROOT / "requirements.txt").read_text())
    for extra in parser["extras"].values():
        wanted |= read(extra)
    assert "libvirt-python" in wanted
    assert sorted(wanted.keys() - pinned.keys()) == []


def test_pins_satisfy_the_requirements() -> None:
    pinned = read((ROOT / "constraints" / "nova-34.txt").read_text())
    for name, requirement in read((ROOT / "requirements.txt").read_text()).items():
        (pin,) = pinned[name].specifier
        assert requirement.specifier.contains(pin.version), requirement
