#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""translate: Nova's objects in, our request out; our errors in, Nova's out."""

from __future__ import annotations

from nova import exception as nova_exception
from nova import objects
from nova_instances import instance

from sev_driver import guest_request, translate
from sev_driver.exceptions import RequirementsNotMet
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import Fault, Requirement, Violation


def test_an_open_machine_type_is_settled_for_life() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_architecture="x86_64")
    request = guest_request.of(guest)
    assert request is not None
    translate.settle_machine_type(guest, request)
    assert guest.image_meta.properties.hw_machine_type == "q35"


def test_a_named_machine_type_is_left_alone() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_machine_type="pc-q35-7.2")
    request = guest_request.of(guest)
    assert request is not None
    translate.settle_machine_type(guest, request)
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
    merged = translate.encrypted_image_meta(guest, rescue)
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
    assert translate.encrypted_image_meta(guest, image) is image


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
    result = translate.build_error(instance(), error)
    assert isinstance(result, nova_exception.BuildAbortException)
    assert "the request is wrong" in result.format_message()
    assert "the host is wrong" not in result.format_message()


def test_a_lame_host_passes_the_guest_on() -> None:
    error = RequirementsNotMet([violation(Fault.HOST)])
    result = translate.build_error(instance(), error)
    assert isinstance(result, nova_exception.ComputeResourcesUnavailable)
    assert "the host is wrong" in result.format_message()
