# SPDX-License-Identifier: Apache-2.0

"""guest_request: what an instance asks for, as a value."""

from __future__ import annotations

import base64
import datetime
import hashlib

import pytest
from nova import objects
from nova.conf import CONF
from nova_instances import UUID, instance

from sev_driver.compute import instance as guest_request
from sev_driver.compute import nova_compat
from sev_driver.conf import opts
from sev_driver.guest.launch_inputs import NO_INPUTS
from sev_driver.guest.requirements import Setting
from sev_driver.model import ForeignModel, MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease

opts.register_opts(CONF)


@pytest.mark.parametrize("spelling", ["true", "True", "1", "yes", "on", "t", "y"])
def test_every_spelling_of_true_asks(spelling: str) -> None:
    by_flavor = guest_request.request_for(instance({"hw:mem_encryption": spelling}))
    by_image = guest_request.request_for(instance(hw_mem_encryption=spelling))
    assert by_flavor is not None and by_image is not None
    assert by_flavor.requesters == ("hw:mem_encryption of flavor m1.sev",)
    assert by_image.requesters == (f"hw_mem_encryption of image {UUID}",)
    assert by_flavor.model is MemoryEncryptionModel.AMD_SEV


@pytest.mark.parametrize("spelling", ["false", "False", "0", "no", "off", "f", "n"])
def test_every_spelling_of_false_does_not(spelling: str) -> None:
    guest = instance({"hw:mem_encryption": spelling}, hw_mem_encryption=spelling)
    assert guest_request.request_for(guest) is None
    assert guest_request.request_for(instance()) is None


def test_both_may_ask() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_mem_encryption="true")
    request = guest_request.request_for(guest)
    assert request is not None and len(request.requesters) == 2
    assert request.conflict is None


@pytest.mark.parametrize(
    ("flavor", "image", "conflict"),
    [("true", "false", "of image"), ("false", "true", "of flavor")],
)
def test_a_conflict_names_who_denies(flavor: str, image: str, conflict: str) -> None:
    guest = instance({"hw:mem_encryption": flavor}, hw_mem_encryption=image)
    request = guest_request.request_for(guest)
    assert request is not None and request.conflict is not None
    assert conflict in request.conflict


def test_the_models() -> None:
    asked = {"hw:mem_encryption": "true"}
    by_flavor = instance(asked | {"hw:mem_encryption_model": "amd-sev-snp"})
    # Nova 32 and 33 have no guest of an image that names SEV-SNP.
    by_image = instance(asked, hw_mem_encryption_model="amd-sev-es")
    request = guest_request.request_for(by_flavor)
    assert request is not None and request.model is MemoryEncryptionModel.AMD_SEV_SNP
    request = guest_request.request_for(by_image)
    assert request is not None and request.model is MemoryEncryptionModel.AMD_SEV_ES


def test_intels_encryption_is_not_ours_where_nova_runs_it() -> None:
    guest = instance(
        {"hw:mem_encryption": "true", "hw:mem_encryption_model": "intel-tdx"}
    )
    request = guest_request.request_for(guest)
    assert (request is None) == (nova_compat.installed_release().number >= 34)
    # On an older one it would become plain SEV behind our back.
    assert request is None or "intel-tdx, which is no model" in str(request.conflict)


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
        request = guest_request.request_for(
            instance({"hw:mem_encryption": "true"}, **properties)
        )
    finally:
        CONF.clear_override("hw_machine_type", group="libvirt")
    assert request is not None and request.machine_type == expected


def test_a_guest_booted_from_a_volume_has_no_image_id() -> None:
    guest = instance(hw_mem_encryption="true")
    guest.image_ref = ""
    request = guest_request.request_for(guest)
    assert request is not None
    assert request.requesters == ("hw_mem_encryption of the volume's image",)


def test_what_the_flavor_asks_of_the_host() -> None:
    guest = instance(
        {
            "hw:mem_encryption": "true",
            "pci_passthrough:alias": "gpu:1",
            "accel:device_profile": "fpga",
            "resources:VGPU": "1",
            "resources1:VGPU": "1",
            "resources:CUSTOM_SEAT": "1",
        }
    )
    request = guest_request.request_for(guest)
    assert request is not None
    assert [setting.source for setting in request.passthrough] == [
        "pci_passthrough:alias of flavor m1.sev",
    ]
    assert [setting.source for setting in request.mediated] == [
        "accel:device_profile of flavor m1.sev",
        "resources1:VGPU of flavor m1.sev",
        "resources:VGPU of flavor m1.sev",
    ]


@pytest.mark.parametrize(
    ("allowed", "model", "expected"),
    [
        (False, "amd-sev-snp", False),
        (True, "amd-sev-snp", True),
        (True, "amd-sev", False),
        (True, "amd-sev-es", False),
    ],
)
def test_option_allows_pci_devices_to_snp_alone(
    *, allowed: bool, model: str, expected: bool
) -> None:
    CONF.set_override("allow_snp_pci_devices", allowed, "sev")
    try:
        request = guest_request.request_for(instance({"sev:model": model}))
    finally:
        CONF.clear_override("allow_snp_pci_devices", "sev")
    assert request is not None
    assert request.allows_pci_devices is expected


def test_the_disk_bus() -> None:
    guest = instance(
        {"hw:mem_encryption": "true"},
        hw_disk_bus="scsi",
        hw_scsi_model="virtio-scsi",
    )
    request = guest_request.request_for(guest)
    assert request is not None
    assert request.disk_bus == Setting("scsi", "hw_disk_bus of the image")
    assert request.scsi_model == "virtio-scsi"


def test_ports_that_are_devices_of_the_host() -> None:
    vifs = [{"id": "a", "vnic_type": "normal"}, {"id": "b", "vnic_type": "direct"}]
    ports = guest_request.passthrough_ports(vifs)
    assert ports == (Setting("direct", "the vnic type of port b"),)
    assert guest_request.passthrough_ports(None) == ()


def test_vhost_user_ports() -> None:
    vifs = [{"id": "a", "type": "ovs"}, {"id": "b", "type": "vhostuser"}]
    assert guest_request.vhost_user_ports(vifs) == ("b",)
    assert guest_request.vhost_user_ports(None) == ()


@pytest.mark.parametrize(
    ("page_sizes", "file_backed", "shares"),
    [
        (None, 0, False),
        ([None], 0, False),
        ([4], 0, False),
        ([4, 2048], 0, True),
        ([1048576], 0, True),
        (None, 1024, True),
    ],
)
def test_memory_is_shared_as_nova_shares_it(
    page_sizes: list[int | None] | None,
    file_backed: int,
    shares: bool,
    request: pytest.FixtureRequest,
) -> None:
    CONF.set_override("file_backed_memory", file_backed, group="libvirt")
    request.addfinalizer(
        lambda: CONF.clear_override("file_backed_memory", group="libvirt")
    )
    guest = instance(ASKED)
    guest.numa_topology = None
    if page_sizes is not None:
        cells = [
            objects.InstanceNUMACell(id=i, memory=256, cpuset={i}, pagesize=size)
            for i, size in enumerate(page_sizes)
        ]
        guest.numa_topology = objects.InstanceNUMATopology(cells=cells)
    assert guest_request.shares_memory(guest) is shares


ASKED = {"hw:mem_encryption": "true"}
ES = "amd-sev-es"


@pytest.fixture
def older_nova(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova 31: no model in its API, and none asked of Placement."""
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(31))


@pytest.mark.parametrize(
    ("extra_specs", "properties"),
    [
        (ASKED | {"sev:model": ES}, {}),
        (ASKED, {"hw_mem_encryption_model": ES}),
        (ASKED | {"trait:HW_CPU_X86_AMD_SEV_ES": "required"}, {}),
        (ASKED | {"trait1:CUSTOM_HW_CPU_X86_AMD_SEV_ES": "required"}, {}),
        (ASKED, {"trait:HW_CPU_X86_AMD_SEV_ES": "required"}),
        ({"sev:model": ES}, {}),
        ({"sev:model": ES}, {"hw_mem_encryption": "true"}),
    ],
)
@pytest.mark.usefixtures("older_nova")
def test_ways_to_ask_for_a_generation(
    extra_specs: dict[str, str], properties: dict[str, str]
) -> None:
    request = guest_request.request_for(instance(extra_specs, **properties))
    assert request is not None
    assert (request.model, request.conflict) == (MemoryEncryptionModel.AMD_SEV_ES, None)


@pytest.mark.usefixtures("older_nova")
def test_our_key_alone_asks_for_encryption() -> None:
    request = guest_request.request_for(instance({"sev:model": ES}))
    assert request is not None
    assert request.requesters == ("sev:model of flavor m1.sev",)


@pytest.mark.parametrize(
    ("extra_specs", "properties", "conflict"),
    [
        (
            ASKED | {"sev:model": ES},
            {"hw_mem_encryption_model": "amd-sev"},
            "flavor m1.sev has sev:model=amd-sev-es and "
            f"image {UUID} has hw_mem_encryption_model=amd-sev",
        ),
        (
            ASKED | {"sev:model": ES, "trait:HW_CPU_X86_AMD_SEV": "required"},
            {},
            "flavor m1.sev has sev:model=amd-sev-es and "
            "trait:HW_CPU_X86_AMD_SEV=required",
        ),
        (
            {"sev:model": "sev-es"},
            {},
            "flavor m1.sev has sev:model=sev-es, which is no model of AMD SEV",
        ),
        (
            {"sev:model": ES, "hw:mem_encryption": "false"},
            {},
            "hw:mem_encryption of flavor m1.sev denies it",
        ),
    ],
)
@pytest.mark.usefixtures("older_nova")
def test_voices_that_disagree_are_named(
    extra_specs: dict[str, str], properties: dict[str, str], conflict: str
) -> None:
    request = guest_request.request_for(instance(extra_specs, **properties))
    assert request is not None and request.conflict == conflict


def test_what_the_scheduler_takes_for_sev_is_a_voice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(32))
    request = guest_request.request_for(instance(ASKED | {"sev:model": ES}))
    assert request is not None and request.conflict == (
        "flavor m1.sev has hw:mem_encryption without hw:mem_encryption_model "
        "(which is amd-sev) and sev:model=amd-sev-es"
    )
    named = ASKED | {"sev:model": ES, "hw:mem_encryption_model": ES}
    request = guest_request.request_for(instance(named))
    assert request is not None and request.conflict is None


@pytest.mark.parametrize(
    ("task_state", "agrees"),
    [(None, True), ("rebooting_hard", True), ("resize_finish", False)],
)
def test_a_guest_that_an_older_nova_started_keeps_its_generation(
    task_state: str | None, agrees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(32))
    guest = instance(ASKED | {"sev:model": ES})
    guest.launched_at = datetime.datetime(2025, 4, 2, tzinfo=datetime.UTC)
    guest.task_state = task_state
    request = guest_request.request_for(guest)
    assert request is not None and (request.conflict is None) == agrees
    if agrees:
        assert request.model is MemoryEncryptionModel.AMD_SEV_ES


def test_a_model_that_this_nova_does_not_run_is_not_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nova 31 makes a guest with plain SEV of it, and we would not guard it."""
    guest = instance(ASKED | {"hw:mem_encryption_model": "intel-tdx"})
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(31))
    request = guest_request.request_for(guest)
    assert request is not None and request.conflict is not None
    assert "intel-tdx, which is no model" in request.conflict
    assert guest_request.foreign_request_for(guest) is None
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(34))
    assert guest_request.request_for(guest) is None
    foreign = guest_request.foreign_request_for(guest)
    assert foreign is not None and foreign.model is ForeignModel.INTEL_TDX


def test_a_forbidden_trait_asks_for_nothing() -> None:
    forbidden = {"trait:HW_CPU_X86_AMD_SEV_ES": "forbidden"}
    request = guest_request.request_for(instance(ASKED | forbidden))
    assert request is not None
    assert (request.model, request.conflict) == (MemoryEncryptionModel.AMD_SEV, None)


@pytest.mark.parametrize("text", ["true", "True", "1"])
def test_stateless_firmware(text: str) -> None:
    request = guest_request.request_for(instance(ASKED, hw_firmware_stateless=text))
    assert request is not None and request.firmware_stateless
    request = guest_request.request_for(instance(ASKED))
    assert request is not None and not request.firmware_stateless


def test_launch_inputs_of_an_instance() -> None:
    snp = {"hw:mem_encryption": "true", "sev:policy": "0x30001"}
    guest = instance(snp, sev_host_data="user_data", hw_firmware_type="uefi")
    guest.user_data = base64.b64encode(b"script").decode()
    found = guest_request.launch_inputs_for(guest)
    assert found.host_data == hashlib.sha256(b"script").digest()
    assert found.policy_source == "sev:policy of flavor m1.sev"
    guest.metadata = {"sev:policy": "0x30002"}
    found = guest_request.launch_inputs_for(guest)
    assert found.policy is not None and int(found.policy) == 0x30002
    other = objects.Flavor(name="m2", extra_specs={"sev:policyx": "0x30003"})
    found = guest_request.launch_inputs_for(guest, other)
    assert "sev:policyx of flavor m2" in str(found.violations[0])
    assert f"sev_host_data of image {UUID}" in found.keys


def test_instance_without_launch_inputs() -> None:
    guest = instance({"hw:mem_encryption": "true"}, hw_firmware_type="uefi")
    # Of other instances Nova need not have loaded it.
    del guest._obj_user_data
    guest.metadata = {"sev:launched_digest": "00"}
    assert guest_request.launch_inputs_for(guest) is NO_INPUTS
    by_flavor = instance({"sev:model": "amd-sev-snp"})
    assert guest_request.launch_inputs_for(by_flavor) is NO_INPUTS
