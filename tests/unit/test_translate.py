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

import pytest
from nova import exception as nova_exception
from nova import objects
from nova.conf import CONF

from sev_driver import translate
from sev_driver.exceptions import OperationNotSupported, RequirementsNotMet
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import Fault, Requirement, Setting, Violation

UUID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def nova() -> None:
    objects.register_all()


def instance(
    extra_specs: dict[str, str] | None = None, **properties: str
) -> objects.Instance:
    """Return an instance as nova-compute loads it."""
    flavor = objects.Flavor(name="m1.sev", extra_specs=extra_specs or {})
    metadata = {f"image_{name}": value for name, value in properties.items()}
    return objects.Instance(
        uuid=UUID, flavor=flavor, system_metadata=metadata, image_ref=UUID
    )


@pytest.mark.parametrize("spelling", ["true", "True", "1", "yes", "on", "t", "y"])
def test_every_spelling_of_true_asks(spelling: str) -> None:
    by_flavor = translate.guest_request(instance({"hw:mem_encryption": spelling}))
    by_image = translate.guest_request(instance(hw_mem_encryption=spelling))
    assert by_flavor is not None and by_image is not None
    assert by_flavor.requesters == ("hw:mem_encryption of flavor m1.sev",)
    assert by_image.requesters == (f"hw_mem_encryption of image {UUID}",)
    assert by_flavor.model is MemoryEncryptionModel.AMD_SEV


@pytest.mark.parametrize("spelling", ["false", "False", "0", "no", "off", "f", "n"])
def test_every_spelling_of_false_does_not(spelling: str) -> None:
    guest = instance({"hw:mem_encryption": spelling}, hw_mem_encryption=spelling)
    assert translate.guest_request(guest) is None
    assert translate.guest_request(instance()) is None


def test_both_may_ask() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_mem_encryption="true")
    request = translate.guest_request(guest)
    assert request is not None and len(request.requesters) == 2
    assert request.conflict is None


@pytest.mark.parametrize(
    ("flavor", "image", "conflict"),
    [("true", "false", "of image"), ("false", "true", "of flavor")],
)
def test_a_conflict_names_who_denies(flavor: str, image: str, conflict: str) -> None:
    guest = instance({"hw:mem_encryption": flavor}, hw_mem_encryption=image)
    request = translate.guest_request(guest)
    assert request is not None and request.conflict is not None
    assert conflict in request.conflict


def test_the_models() -> None:
    asked = {"hw:mem_encryption": "true"}
    by_flavor = instance(asked | {"hw:mem_encryption_model": "amd-sev-es"})
    by_image = instance(asked, hw_mem_encryption_model="amd-sev-snp")
    request = translate.guest_request(by_flavor)
    assert request is not None and request.model is MemoryEncryptionModel.AMD_SEV_ES
    request = translate.guest_request(by_image)
    assert request is not None and request.model is MemoryEncryptionModel.AMD_SEV_SNP


def test_intels_encryption_is_not_ours() -> None:
    guest = instance(
        {"hw:mem_encryption": "true", "hw:mem_encryption_model": "intel-tdx"}
    )
    assert translate.guest_request(guest) is None


@pytest.mark.parametrize(
    ("image", "option", "expected"),
    [
        ("q35", [], Setting("q35", "hw_machine_type of the image")),
        ("pc", ["x86_64=q35"], Setting("pc", "hw_machine_type of the image")),
        (
            None,
            ["x86_64=pc"],
            Setting("pc", "[libvirt] hw_machine_type on this host"),
        ),
        (None, ["aarch64=virt"], None),
        (None, [], None),
    ],
)
def test_who_names_the_machine_type(
    image: str | None, option: list[str], expected: Setting | None
) -> None:
    properties = {"hw_architecture": "x86_64"}
    if image is not None:
        properties["hw_machine_type"] = image
    CONF.set_override("hw_machine_type", option, group="libvirt")
    try:
        request = translate.guest_request(
            instance({"hw:mem_encryption": "true"}, **properties)
        )
    finally:
        CONF.clear_override("hw_machine_type", group="libvirt")
    assert request is not None and request.machine_type == expected


def test_an_open_machine_type_is_settled_for_life() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_architecture="x86_64")
    request = translate.guest_request(guest)
    assert request is not None
    translate.settle_machine_type(guest, request)
    assert guest.image_meta.properties.hw_machine_type == "q35"


def test_a_named_machine_type_is_left_alone() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_machine_type="pc-q35-7.2")
    request = translate.guest_request(guest)
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


def violation(fault: Fault) -> Violation:
    host = fault is Fault.HOST
    requirement = Requirement.HOST if host else Requirement.MACHINE_TYPE
    return Violation(
        requirement, "flavor asks", f"the {fault.value} is wrong", "mend it"
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


def test_a_guest_booted_from_a_volume_has_no_image_id() -> None:
    guest = instance(hw_mem_encryption="true")
    guest.image_ref = ""
    request = translate.guest_request(guest)
    assert request is not None
    assert request.requesters == ("hw_mem_encryption of the volume's image",)


def test_what_the_flavor_asks_of_the_host() -> None:
    guest = instance(
        {
            "hw:mem_encryption": "true",
            "pci_passthrough:alias": "gpu:1",
            "resources:VGPU": "1",
            "resources1:VGPU": "1",
            "resources:CUSTOM_SEAT": "1",
        }
    )
    request = translate.guest_request(guest)
    assert request is not None
    assert [setting.source for setting in request.passthrough] == [
        "pci_passthrough:alias of flavor m1.sev",
        "resources1:VGPU of flavor m1.sev",
        "resources:VGPU of flavor m1.sev",
    ]


def test_the_disk_bus() -> None:
    guest = instance(
        {"hw:mem_encryption": "true"},
        hw_disk_bus="scsi",
        hw_scsi_model="virtio-scsi",
    )
    request = translate.guest_request(guest)
    assert request is not None
    assert request.disk_bus == Setting("scsi", "hw_disk_bus of the image")
    assert request.scsi_model == "virtio-scsi"


def test_ports_that_are_devices_of_the_host() -> None:
    vifs = [{"id": "a", "vnic_type": "normal"}, {"id": "b", "vnic_type": "direct"}]
    ports = translate.direct_ports(vifs)
    assert ports == (Setting("direct", "the vnic type of port b"),)
    assert translate.direct_ports(None) == ()


def test_a_refused_operation_leaves_the_server_as_it_was() -> None:
    refusal = OperationNotSupported("Suspending", MemoryEncryptionModel.AMD_SEV, "why")
    with (
        pytest.raises(nova_exception.InstanceFaultRollback) as caught,
        translate.errors_as(translate.unchanged_error),
    ):
        raise refusal
    inner = caught.value.inner_exception.format_message()
    assert inner == ("Suspending is not possible for a guest encrypted by AMD SEV: why")


def test_other_errors_pass_unchanged() -> None:
    with (
        pytest.raises(KeyError),
        translate.errors_as(translate.operation_error),
    ):
        raise KeyError
