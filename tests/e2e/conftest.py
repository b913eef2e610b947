# SPDX-License-Identifier: Apache-2.0
"""Tests in real clouds: real Nova, libvirt and QEMU on a simulated SEV host."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab

from devcloud.testing import CloudFixture, kind_here

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: needs root, and starts whole clouds")
    # openstacksdk warns of its own use of itself.
    for kind in ("DeprecationWarning", "PendingDeprecationWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{kind}:openstack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("e2e")
            if os.geteuid() != 0:
                reason = "a cloud needs root, for namespaces and mounts of its own"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def cloud(the_cloud: CloudFixture) -> CloudFixture:
    return the_cloud


@pytest.fixture(scope="session")
def the_cloud(
    tmp_path_factory: pytest.TempPathFactory, until_next_group: contextlib.ExitStack
) -> CloudFixture:
    """One cloud for all tests that do not mind who else is in it."""
    nova = {
        "DEFAULT": {"allow_resize_to_same_host": "true"},
        "libvirt": {
            # A soft reboot of a guest that takes its time is not made a hard one.
            "wait_soft_reboot_seconds": "60",
            # Else a q35 guest has one port left for devices that come later.
            "num_pcie_ports": "12",
        },
    }
    state = tmp_path_factory.mktemp("cloud")
    # Where SEV is real, so is the firmware.
    host = {"halting_firmware": True} if kind_here() == "simulated" else {}
    return until_next_group.enter_context(CloudFixture(state, nova=nova, **host))


@pytest.fixture(scope="session")
def the_lab(
    tmp_path_factory: pytest.TempPathFactory, until_next_group: contextlib.ExitStack
) -> Lab:
    return until_next_group.enter_context(Lab(tmp_path_factory.mktemp("lab")))


@pytest.fixture
def lab(the_lab: Lab) -> Iterator[Lab]:
    """A cloud of which a test may change everything; guests end with the test."""
    the_lab.configure()
    yield the_lab
    the_lab.clear()


@pytest.fixture(scope="session")
def encrypted_flavor(cloud: CloudFixture) -> str:
    return cloud.make_flavor("encrypted", hw__mem_encryption="true")


@pytest.fixture(scope="session")
def plain_flavor(cloud: CloudFixture) -> str:
    return cloud.make_flavor("plain")


@pytest.fixture(scope="session")
def uefi_image(cloud: CloudFixture) -> str:
    return cloud.make_image("uefi", hw_firmware_type="uefi")


@pytest.fixture(scope="session")
def bios_image(cloud: CloudFixture) -> str:
    return cloud.make_image("bios")
