# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nova import objects
from nova.conf import CONF
from oslo_utils import strutils

from sev_driver.compute import instance as guest_request
from sev_driver.compute import nova_compat
from sev_driver.conf import opts
from sev_driver.guest.request import (
    FlavorSpecs,
    ImageProperties,
    is_true,
    parse_request,
)
from sev_driver.model import MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease

opts.register_opts(CONF)

UUID = "11111111-2222-3333-4444-555555555555"
TITLE = f"image {UUID}"
ES = "amd-sev-es"

BOOLS = st.sampled_from(["true", "True", "1", "on", "false", "no", "0", "maybe"])
MODELS = st.sampled_from(["amd-sev", ES, "amd-sev-snp", "intel-tdx", "sev"])
EXTRA_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "hw:mem_encryption": BOOLS,
        "hw:mem_encryption_model": MODELS,
        "sev:model": MODELS,
        "trait:HW_CPU_X86_AMD_SEV_ES": st.sampled_from(["required", "forbidden"]),
        "pci_passthrough:alias": st.just("gpu:1"),
        "resources:VGPU": st.just("1"),
        "os:secure_boot": st.sampled_from(["required", "optional"]),
        "hw:viommu_model": st.sampled_from(["virtio", "intel", "auto"]),
        "hw:locked_memory": BOOLS,
        "resources:MEM_ENCRYPTION_CONTEXT": st.just("1"),
    },
)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "hw_mem_encryption": BOOLS,
        "hw_firmware_type": st.sampled_from(["uefi", "bios"]),
        "hw_firmware_stateless": BOOLS,
        "hw_machine_type": st.sampled_from(["q35", "pc", "pc-q35-7.2"]),
        "hw_disk_bus": st.sampled_from(["virtio", "scsi", "ide", "usb"]),
        "hw_scsi_model": st.sampled_from(["virtio-scsi", "VIRTIO-SCSI", "lsilogic"]),
        "os_secure_boot": st.sampled_from(["required", "optional"]),
        "hw_viommu_model": st.sampled_from(["virtio", "intel", "auto"]),
        "hw_locked_memory": BOOLS,
        "vmware_adaptertype": st.sampled_from(["ide", "lsiLogic", ""]),
        "trait:CUSTOM_HW_CPU_X86_AMD_SEV_SNP": st.just("required"),
    },
)


@given(EXTRA_SPECS, PROPERTIES)
def test_the_doctor_and_nova_compute_read_the_same(
    extra_specs: dict[str, str], properties: dict[str, str]
) -> None:
    objects.register_all()
    instance = objects.Instance(
        uuid=UUID,
        image_ref=UUID,
        flavor=objects.Flavor(name="m1.sev", extra_specs=extra_specs),
        system_metadata={f"image_{name}": v for name, v in properties.items()},
    )
    by_the_doctor = parse_request(
        FlavorSpecs("m1.sev", extra_specs),
        ImageProperties.of(TITLE, properties),
        nova_compat.installed_release(),
    )
    assert by_the_doctor == guest_request.request_for(instance)


@pytest.mark.parametrize("text", ["true", "T", " 1 ", "yes", "ON", "y", "2", "", "no"])
def test_true_is_what_oslo_takes_for_true(text: str) -> None:
    assert is_true(text) is strutils.bool_from_string(text)
    assert is_true(None) is None


@pytest.mark.parametrize(
    ("nova", "conflict"),
    [
        (
            32,
            "flavor m1.sev has hw:mem_encryption without hw:mem_encryption_model "
            "(which is amd-sev) and sev:model=amd-sev-es",
        ),
        (31, None),
    ],
)
def test_the_release_decides_what_the_scheduler_asks_for(
    nova: int, conflict: str | None
) -> None:
    flavor = FlavorSpecs("m1.sev", {"hw:mem_encryption": "true", "sev:model": ES})
    image = ImageProperties(TITLE, {})
    request = parse_request(flavor, image, NovaRelease(nova))
    assert request is not None and request.conflict == conflict
    kept = parse_request(flavor, image, NovaRelease(nova), slot_already_allocated=True)
    assert kept is not None and kept.conflict is None
    assert kept.model is MemoryEncryptionModel.AMD_SEV_ES


@pytest.mark.parametrize("nova", [32, 31])
def test_our_key_alone_is_all_that_is_asked(nova: int) -> None:
    """Nova's scheduler knows nothing of it, and so asks for no generation."""
    flavor = FlavorSpecs("m1.sev", {"sev:model": ES})
    request = parse_request(flavor, ImageProperties(TITLE, {}), NovaRelease(nova))
    assert request is not None and request.conflict is None
    assert request.model is MemoryEncryptionModel.AMD_SEV_ES
    assert request.requesters == ("sev:model of flavor m1.sev",)


def test_novas_key_is_named_before_ours() -> None:
    flavor = FlavorSpecs("m1.sev", {"hw:mem_encryption": "true", "sev:model": ES})
    request = parse_request(flavor, ImageProperties(TITLE, {}), NovaRelease(31))
    assert request is not None
    assert request.requesters == ("hw:mem_encryption of flavor m1.sev",)


@pytest.mark.parametrize(
    ("specs", "properties", "expected"),
    [
        ({}, {}, None),
        ({}, {"os_secure_boot": "optional"}, None),
        ({"os:secure_boot": "disabled"}, {}, None),
        ({}, {"os_secure_boot": "required"}, "os_secure_boot of the image"),
        ({"os:secure_boot": "required"}, {}, "os:secure_boot of flavor m1.sev"),
    ],
)
def test_secure_boot_that_is_required(
    specs: dict[str, str], properties: dict[str, str], expected: str | None
) -> None:
    flavor = FlavorSpecs("m1.sev", {"hw:mem_encryption": "true"} | specs)
    request = parse_request(flavor, ImageProperties(TITLE, properties), NovaRelease(34))
    assert request is not None
    setting = request.secure_boot
    assert (setting.source if setting else None) == expected


@pytest.mark.parametrize(
    ("specs", "properties", "locks"),
    [
        ({}, {}, False),
        ({"hw:locked_memory": "True"}, {}, True),
        ({"hw:locked_memory": "false"}, {}, False),
        ({"hw:cpu_realtime": "yes"}, {}, True),
        ({}, {"hw_locked_memory": "true"}, True),
    ],
)
def test_memory_that_shall_be_locked(
    specs: dict[str, str], properties: dict[str, str], locks: bool
) -> None:
    flavor = FlavorSpecs("m1.sev", {"hw:mem_encryption": "true"} | specs)
    request = parse_request(flavor, ImageProperties(TITLE, properties), NovaRelease(34))
    assert request is not None and request.locks_memory is locks
