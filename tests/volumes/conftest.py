# SPDX-License-Identifier: Apache-2.0
"""Tests of encrypted guests with real volumes: Cinder's, by its NFS driver."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cinder_cloud import CinderCloud

from devcloud import linux_guest
from devcloud.simhost import userland

HERE = Path(__file__).parent
#: Whose libvirt: this machine's, and one that is two years newer than Debian 12's.
LIBVIRTS = ("", "trixie")
NOVA = {
    "DEFAULT": {"update_resources_interval": "1"},
    # Else a q35 guest has one port left for devices that come later.
    "libvirt": {"num_pcie_ports": "12"},
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "volumes: needs root and Cinder")
    for kind in ("DeprecationWarning", "PendingDeprecationWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{kind}:openstack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = ""
    if os.geteuid() != 0:
        missing = "a cloud needs root, for namespaces and mounts of its own"
    elif importlib.util.find_spec("cinder") is None:
        missing = "Cinder is not installed: make setup-volumes"
    elif linux_guest.disk() is None:
        missing = linux_guest.reason()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("volumes")
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="session", params=LIBVIRTS, ids=["own", "trixie"])
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CinderCloud]:
    """One cloud for all tests with one libvirt."""
    distribution = request.param
    if distribution and not userland.is_here(distribution):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    folder = tmp_path_factory.mktemp("volumes")
    with CinderCloud(
        folder / "cloud", volumes="cinder", nova=NOVA, distribution=distribution
    ) as cinder:
        yield cinder
