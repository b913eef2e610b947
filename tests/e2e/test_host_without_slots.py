# SPDX-License-Identifier: Apache-2.0
"""A host on which nothing can be encrypted: it says so, and is a host still."""

from collections.abc import Iterator
from typing import Any

import pytest

from devcloud.testing import CloudFixture

HOSTS: dict[str, dict[str, Any]] = {
    "no slots": {"max_asid": 0},
    "SEV switched off": {"sev": False},
}


@pytest.fixture(scope="module", params=HOSTS)
def host_without_sev(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CloudFixture]:
    state = tmp_path_factory.mktemp("no-sev")
    with CloudFixture(state, **HOSTS[request.param]) as fixture:
        yield fixture


def test_plain_guests_boot_and_encrypted_ones_do_not(
    host_without_sev: CloudFixture,
) -> None:
    cloud = host_without_sev
    plain = cloud.boot("plain", cloud.make_flavor("plain"), cloud.make_image("bios"))
    encrypted = cloud.boot(
        "encrypted",
        cloud.make_flavor("encrypted", hw__mem_encryption="true"),
        cloud.make_image("uefi", hw_firmware_type="uefi"),
    )

    assert plain.status == "ACTIVE", plain.fault
    assert cloud.domain(plain).launch_security is None
    assert encrypted.status == "ERROR"
    assert "No valid host was found" in encrypted.fault["message"]
    assert "AMD SEV is not available on this host: " in cloud.log()
    assert cloud.usage() == {}
