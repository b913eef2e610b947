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

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nova import objects
from oslo_utils import strutils

from sev_driver import asked, guest_request, releases
from sev_driver.model import MemoryEncryptionModel

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
    by_the_doctor = asked.request(
        asked.Flavor("m1.sev", extra_specs),
        asked.Image.of(TITLE, properties),
        releases.rules(),
    )
    assert by_the_doctor == guest_request.of(instance)


@pytest.mark.parametrize("text", ["true", "T", " 1 ", "yes", "ON", "y", "2", "", "no"])
def test_true_is_what_oslo_takes_for_true(text: str) -> None:
    assert asked.is_true(text) is strutils.bool_from_string(text)
    assert asked.is_true(None) is None


@pytest.mark.parametrize(
    ("chooses", "conflict"),
    [
        (
            True,
            "flavor m1.sev has hw:mem_encryption without hw:mem_encryption_model "
            "(which is amd-sev) and sev:model=amd-sev-es",
        ),
        (False, None),
    ],
)
def test_the_release_decides_what_the_scheduler_asks_for(
    chooses: bool, conflict: str | None
) -> None:
    flavor = asked.Flavor("m1.sev", {"hw:mem_encryption": "true", "sev:model": ES})
    image = asked.Image(TITLE, {})
    request = asked.request(flavor, image, asked.Release(chooses))
    assert request is not None and request.conflict == conflict
    kept = asked.request(flavor, image, asked.Release(chooses), has_its_slot=True)
    assert kept is not None and kept.conflict is None
    assert kept.model is MemoryEncryptionModel.AMD_SEV_ES


@pytest.mark.parametrize("chooses", [True, False])
def test_our_key_alone_is_all_that_is_asked(chooses: bool) -> None:
    """Nova's scheduler knows nothing of it, and so asks for no generation."""
    flavor = asked.Flavor("m1.sev", {"sev:model": ES})
    request = asked.request(flavor, asked.Image(TITLE, {}), asked.Release(chooses))
    assert request is not None and request.conflict is None
    assert request.model is MemoryEncryptionModel.AMD_SEV_ES
    assert request.requesters == ("sev:model of flavor m1.sev",)


def test_novas_key_is_named_before_ours() -> None:
    flavor = asked.Flavor("m1.sev", {"hw:mem_encryption": "true", "sev:model": ES})
    request = asked.request(flavor, asked.Image(TITLE, {}), asked.Release(False))
    assert request is not None
    assert request.requesters == ("hw:mem_encryption of flavor m1.sev",)
