# SPDX-License-Identifier: Apache-2.0

"""The version: that of setup.cfg, of a wheel from a clone, of the release notes."""

import configparser
from pathlib import Path

from installations import ROOT
from packaging.version import Version


def stated() -> Version:
    """Return the version that setup.cfg states."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return Version(parser["metadata"]["version"])


def test_stated_version_is_1_0_0_or_newer() -> None:
    assert stated() >= Version("1.0.0")
    assert not stated().is_prerelease


def test_wheel_from_a_clone_has_the_stated_version(wheel: Path) -> None:
    built = Version(wheel.name.split("-")[1])
    # Without a tag pbr counts commits: 1.0.0.dev294.
    assert built.release == stated().release
    # pip replaces what was built before there was a version.
    assert built > Version("0.0.1.dev9999")


def test_release_notes_stand_under_the_stated_version() -> None:
    config = (ROOT / "releasenotes" / "config.yaml").read_text()
    assert f"unreleased_version_title: {stated()} (" in config
