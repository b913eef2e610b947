# SPDX-License-Identifier: Apache-2.0
"""Tests of encrypted guests with real ports: Neutron's, on Open vSwitch."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from neutron_cloud import NeutronCloud

from devcloud import linux_guest, open_vswitch

HERE = Path(__file__).parent
NOVA = {
    "DEFAULT": {"update_resources_interval": "1"},
    # Else a q35 guest has one port left for devices that come later.
    "libvirt": {"num_pcie_ports": "12"},
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "network: needs root and Neutron")
    for kind in ("DeprecationWarning", "PendingDeprecationWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{kind}:openstack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = ""
    if os.geteuid() != 0:
        missing = "a cloud needs root, for namespaces and mounts of its own"
    elif importlib.util.find_spec("neutron") is None:
        missing = "Neutron is not installed: make setup-network"
    elif not open_vswitch.is_here():
        missing = open_vswitch.reason()
    elif linux_guest.disk() is None:
        missing = linux_guest.reason()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("network")
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="module")
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NeutronCloud]:
    """One cloud for all tests of a module, whose SETTINGS it has."""
    settings = request.module.SETTINGS
    folder = tmp_path_factory.mktemp("network")
    with NeutronCloud(
        folder / "cloud", network="neutron", nova=NOVA, **settings
    ) as neutron:
        yield neutron


@pytest.fixture(scope="module")
def flavor(cloud: NeutronCloud) -> str:
    return cloud.make_flavor("encrypted", hw__mem_encryption="true")


@pytest.fixture(scope="module")
def image(cloud: NeutronCloud) -> str:
    return cloud.make_linux_image("linux")
