# SPDX-License-Identifier: Apache-2.0
"""SEV wants q35; what happens to who names it, another one, or none."""

import openstack
import pytest
from lab import Lab

from devcloud.testing import CloudFixture


def test_without_any_it_is_q35(
    cloud: CloudFixture, encrypted_flavor: str, uefi_image: str
) -> None:
    # Neither the image nor nova.conf names a machine type here.
    server = cloud.boot("unnamed", encrypted_flavor, uefi_image)

    assert server.status == "ACTIVE", server.fault
    assert "q35" in cloud.domain(server).machine
    cloud.delete(server)


def test_a_versioned_q35_is_taken_as_it_is(
    cloud: CloudFixture, encrypted_flavor: str
) -> None:
    image = cloud.make_image(
        "q35-6.2", hw_firmware_type="uefi", hw_machine_type="pc-q35-6.2"
    )

    server = cloud.boot("versioned", encrypted_flavor, image)

    assert server.status == "ACTIVE", server.fault
    domain = cloud.domain(server)
    cloud.delete(server)
    assert (domain.machine, domain.launch_security) == ("pc-q35-6.2", "sev")


def test_q35_by_option_serves_images_that_name_none(lab: Lab) -> None:
    lab.configure({"libvirt": {"hw_machine_type": "x86_64=q35"}})

    for server in (lab.boot_encrypted(), lab.boot_plain()):
        assert server.status == "ACTIVE", server.fault
        assert "q35" in lab.domain(server).machine


def test_another_one_is_refused_in_words(
    cloud: CloudFixture, encrypted_flavor: str
) -> None:
    image = cloud.make_image("pc", hw_firmware_type="uefi", hw_machine_type="pc")

    with pytest.raises(openstack.exceptions.BadRequestException) as refusal:
        cloud.boot("on-pc", encrypted_flavor, image)

    said = str(refusal.value.details)
    assert "Machine type 'pc' is not compatible" in said
    assert "q35 type is required for amd-sev" in said
