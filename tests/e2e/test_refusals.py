# SPDX-License-Identifier: Apache-2.0
"""What an encrypted guest cannot have: refused in words, and nothing changed."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import openstack
import pytest

from devcloud.restarts import Restarts
from devcloud.testing import CloudFixture

BadRequest = openstack.exceptions.BadRequestException
#: As the API takes them for a flavor; tests/unit/compute/test_nova_errors.py has more.
TRUE = ("True", "YES", "on", "1", "t")
FALSE = ("False", "NO", "off", "0", "f")

#: Runs as nova-compute does, in the cloud's namespaces and with its nova.conf:
#: what SEVDriver itself says, which the API's own refusal hides.
ASK_THE_DRIVER = """
import json, os, sys
from nova import config, context, objects
config.parse_args(["nova-compute", "--config-file", sys.argv[1]])
objects.register_all()
from nova.virt import driver
compute = driver.load_compute_driver(None)
compute._host.initialize()
admin = context.get_admin_context()
server = objects.Instance.get_by_uuid(
    admin, sys.argv[2], expected_attrs=["flavor", "system_metadata"])
for ask in (
    lambda: compute.suspend(admin, server),
    lambda: compute.check_can_live_migrate_source(admin, server, None, None),
    lambda: compute.check_can_live_migrate_destination(admin, server, None, None),
    lambda: compute._host.get_guest(server).save_memory_state(),
):
    try:
        ask()
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]))
    else:
        print(json.dumps(["", "done"]))
sys.stdout.flush()
os._exit(0)  # libvirt's threads stay
"""


@pytest.fixture(scope="module")
def running(
    cloud: CloudFixture, encrypted_flavor: str, uefi_image: str
) -> Iterator[Any]:
    server = cloud.boot("refused", encrypted_flavor, uefi_image)
    assert server.status == "ACTIVE", server.fault
    yield server
    cloud.delete(server)


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("suspend", None),
        ("os-migrateLive", {"host": None, "block_migration": "auto"}),
    ],
)
def test_the_api_refuses_what_saves_or_moves_memory(
    cloud: CloudFixture, running: Any, action: str, parameters: Any
) -> None:
    with pytest.raises(BadRequest) as refused:
        cloud.ask(running, action, parameters)

    said = "not supported for mem encryption enabled instance"
    assert said in str(refused.value.details)
    assert_untouched(cloud, running)


def test_the_driver_refuses_it_too(cloud: CloudFixture, running: Any) -> None:
    conf = cloud.cloud.layout.etc("nova") / "nova.conf"
    output = Restarts(cloud.cloud).run(
        sys.executable, "-c", ASK_THE_DRIVER, str(conf), running.id
    )

    answers = [json.loads(line) for line in output.splitlines()]
    kinds, texts = zip(*answers, strict=True)
    # The first leaves a server as it was; the next two end a live migration.
    check = "MigrationPreCheckError"
    assert kinds == ("InstanceFaultRollback", check, check, "InternalError")
    no = "is not possible for a guest encrypted by AMD SEV: its memory cannot be"
    for operation, text in zip(
        ("Suspending", "Live migration", "Live migration", "Managed save"),
        texts,
        strict=True,
    ):
        assert f"{operation} {no}" in text
    assert_untouched(cloud, running)


def assert_untouched(cloud: CloudFixture, server: Any) -> None:
    now = cloud.connection.compute.get_server(server)
    assert (now.status, now.task_state) == ("ACTIVE", None)
    assert cloud.virsh("domstate", server.instance_name).strip() == "running"
    assert cloud.domain(server).launch_security == "sev"


#: Image properties beside hw_firmware_type, and what the server's fault says.
DISKS = {
    "ide": ({"hw_disk_bus": "ide"}, "hw_disk_bus of the image is ide"),
    "usb": ({"hw_disk_bus": "usb"}, "hw_disk_bus of the image is usb"),
    "scsi": (
        {"hw_disk_bus": "scsi"},
        "hw_disk_bus of the image is scsi with hw_scsi_model unset",
    ),
}
GOOD_DISKS = {
    "virtio": {"hw_disk_bus": "virtio"},
    "sata": {"hw_disk_bus": "sata"},
    "virtio-scsi": {"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi"},
}


@pytest.mark.parametrize("bus", DISKS)
def test_a_boot_disk_that_the_guide_does_not_list(
    cloud: CloudFixture, encrypted_flavor: str, bus: str
) -> None:
    properties, found = DISKS[bus]
    image = cloud.make_image(f"on-{bus}", hw_firmware_type="uefi", **properties)

    server = cloud.boot("bus", encrypted_flavor, image)
    cloud.delete(server)

    assert server.status == "ERROR"
    message = server.fault["message"]
    assert "hw:mem_encryption of flavor encrypted asks for AMD SEV" in message
    assert f"{found}: set hw_disk_bus=virtio, sata, or scsi with" in message


@pytest.mark.parametrize("bus", GOOD_DISKS)
def test_a_boot_disk_that_the_guide_lists(
    cloud: CloudFixture, encrypted_flavor: str, bus: str
) -> None:
    image = cloud.make_image(f"good-{bus}", hw_firmware_type="uefi", **GOOD_DISKS[bus])

    server = cloud.boot("bus", encrypted_flavor, image)

    assert server.status == "ACTIVE", server.fault
    domain = cloud.domain(server)
    cloud.delete(server)
    assert domain.launch_security == "sev"
    assert domain.virtio and all(domain.virtio.values()), domain.virtio


def test_a_vgpu_of_the_flavor(cloud: CloudFixture, uefi_image: str) -> None:
    """As on a host with a GPU, which here is an entry in Placement only.

    It stays there: once nova-compute has it in its tree, Nova builds nothing while it
    is gone.
    """
    placement = cloud.connection.placement
    (root,) = [p for p in placement.resource_providers() if p.name == "node1"]
    gpu = placement.create_resource_provider(
        name="node1_gpu", parent_provider_id=root.id
    )
    placement.put(
        f"/resource_providers/{gpu.id}/inventories",
        json={
            "inventories": {"VGPU": {"total": 1}},
            "resource_provider_generation": gpu.generation,
        },
    )
    flavor = cloud.make_flavor("gpu", hw__mem_encryption="true", resources__VGPU="1")

    server = cloud.boot("gpu", flavor, uefi_image)
    cloud.delete(server)

    assert server.status == "ERROR"
    said = "resources:VGPU of flavor gpu is 1, a host device: remove it, because"
    assert said in server.fault["message"]


def test_an_image_that_does_not_boot_by_uefi(
    cloud: CloudFixture, encrypted_flavor: str, bios_image: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        cloud.boot("bios", encrypted_flavor, bios_image)

    assert "hw_firmware_type" in str(refused.value.details)


def test_flavor_and_image_that_disagree(
    cloud: CloudFixture, encrypted_flavor: str
) -> None:
    image = cloud.make_image("plain-only", hw_mem_encryption="false")
    with pytest.raises(openstack.exceptions.HttpException) as refused:
        cloud.boot("torn", encrypted_flavor, image)

    said = str(refused.value.details)
    assert "hw:mem_encryption" in said
    assert "hw_mem_encryption" in said


@pytest.mark.parametrize(("spellings", "encryption"), [(TRUE, "sev"), (FALSE, None)])
def test_each_spelling_of_true_and_of_false(
    cloud: CloudFixture,
    uefi_image: str,
    bios_image: str,
    spellings: tuple[str, ...],
    encryption: str | None,
) -> None:
    compute = cloud.connection.compute
    image = uefi_image if encryption else bios_image
    servers = []
    try:
        for spelling in spellings:
            flavor = cloud.make_flavor(f"is-{spelling}", hw__mem_encryption=spelling)
            server = compute.create_server(
                name=spelling, flavor_id=flavor, image_id=image, networks="none"
            )
            servers.append(server)
        for server in servers:
            compute.wait_for_server(server, interval=0.3, wait=120)
            built = compute.get_server(server)
            assert cloud.domain(built).launch_security == encryption, built.name
    finally:
        for server in servers:
            compute.delete_server(server)
        for server in servers:
            compute.wait_for_delete(server, interval=0.3, wait=60)
