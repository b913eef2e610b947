# SPDX-License-Identifier: Apache-2.0

"""translate: Nova's objects in, our request out; our errors in, Nova's out."""

from __future__ import annotations

import pytest
from nova import exception as nova_exception
from nova import objects
from nova_instances import instance

from sev_driver.compute import errors
from sev_driver.compute import instance as guest_request
from sev_driver.exceptions import Fault, Requirement, RequirementsNotMet, Violation
from sev_driver.model import MemoryEncryptionModel


def test_an_open_machine_type_is_settled_for_life() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_architecture="x86_64")
    request = guest_request.request_for(guest)
    assert request is not None
    guest_request.record_default_machine_type(guest, request)
    assert guest.image_meta.properties.hw_machine_type == "q35"


def test_a_named_machine_type_is_left_alone() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_machine_type="pc-q35-7.2")
    request = guest_request.request_for(guest)
    assert request is not None
    guest_request.record_default_machine_type(guest, request)
    assert guest.image_meta.properties.hw_machine_type == "pc-q35-7.2"


def test_a_rescue_image_takes_the_guests_encryption() -> None:
    guest = instance(
        hw_mem_encryption="true", hw_firmware_type="uefi", hw_machine_type="q35"
    )
    rescue = objects.ImageMeta.from_dict(
        {
            "name": "rescue",
            "properties": {"hw_machine_type": "pc", "hw_disk_bus": "sata"},
        }
    )
    merged = guest_request.with_encryption_properties(guest, rescue)
    assert merged.name == "rescue"
    assert merged.properties.hw_mem_encryption is True
    assert merged.properties.hw_firmware_type == "uefi"
    assert merged.properties.hw_machine_type == "q35"
    assert merged.properties.hw_disk_bus == "sata"
    assert rescue.properties.hw_machine_type == "pc"


def test_an_image_that_has_all_of_it_is_not_copied() -> None:
    guest = instance(
        hw_mem_encryption="true", hw_firmware_type="uefi", hw_machine_type="q35"
    )
    image = guest.image_meta
    assert guest_request.with_encryption_properties(guest, image) is image


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        # An older value that means the same is read again, and then not copied.
        ({"hw_mem_encryption": "yes"}, True),
        ({"hw_mem_encryption": "false"}, False),
        ({"hw_firmware_type": "bios"}, False),
        ({"hw_machine_type": "pc"}, False),
        ({"hw_firmware_stateless": "true"}, False),
    ],
)
def test_a_stored_image_is_compared_as_it_is_stored(
    change: dict[str, str], expected: bool
) -> None:
    properties = {
        "hw_mem_encryption": "true",
        "hw_firmware_type": "uefi",
        "hw_machine_type": "q35",
    }
    image = instance(**properties).image_meta
    guest = instance(**properties | change)
    merged = guest_request.with_encryption_properties(guest, image)
    assert (merged is image) is expected
    for name in properties:
        own = getattr(guest.image_meta.properties, name)
        assert getattr(merged.properties, name) == own


def violation(fault: Fault) -> Violation:
    host = fault is Fault.HOST
    requirement = Requirement.HOST if host else Requirement.MACHINE_TYPE
    return Violation(
        requirement,
        "flavor asks",
        f"the {fault.value} is wrong",
        "mend it",
        MemoryEncryptionModel.AMD_SEV,
    )


def test_a_hopeless_build_ends_at_once() -> None:
    error = RequirementsNotMet([violation(Fault.REQUEST), violation(Fault.HOST)])
    result = errors.for_build(instance(), error)
    assert isinstance(result, nova_exception.BuildAbortException)
    assert "the request is wrong" in result.format_message()
    assert "the host is wrong" not in result.format_message()


def test_a_lame_host_passes_the_guest_on() -> None:
    error = RequirementsNotMet([violation(Fault.HOST)])
    result = errors.for_build(instance(), error)
    assert isinstance(result, nova_exception.ComputeResourcesUnavailable)
    assert "the host is wrong" in result.format_message()
