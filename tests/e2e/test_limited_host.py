# SPDX-License-Identifier: Apache-2.0
"""A host with one slot, whose operator has set another machine type than q35."""

from collections.abc import Iterator

import pytest
from lab import eventually

from devcloud.testing import CloudFixture


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudFixture]:
    nova = {"libvirt": {"hw_machine_type": "x86_64=pc"}}
    state = tmp_path_factory.mktemp("limited")
    with CloudFixture(state, nova=nova, max_asid=1, halting_firmware=True) as fixture:
        yield fixture


@pytest.fixture(scope="module")
def flavor(limited: CloudFixture) -> str:
    return limited.make_flavor("encrypted", hw__mem_encryption="true")


def test_the_operators_machine_type_is_refused_in_words(
    limited: CloudFixture, flavor: str
) -> None:
    image = limited.make_image("unnamed", hw_firmware_type="uefi")

    server = limited.boot("unnamed", flavor, image)

    assert server.status == "ERROR"
    assert "q35" in server.fault["message"]
    assert "hw_machine_type" in server.fault["message"]
    limited.delete(server)
    eventually("the slot is free", lambda: limited.usage() == {"node1_amd_sev": 0})


def test_a_guest_too_many_gets_no_host(limited: CloudFixture, flavor: str) -> None:
    image = limited.make_image("named", hw_firmware_type="uefi", hw_machine_type="q35")

    first = limited.boot("first", flavor, image)
    second = limited.boot("second", flavor, image)

    assert first.status == "ACTIVE", first.fault
    assert second.status == "ERROR"
    assert "No valid host was found" in second.fault["message"]
    assert limited.usage() == {"node1_amd_sev": 1}
