# SPDX-License-Identifier: Apache-2.0
"""Real volumes of a running encrypted guest, through all that a user can ask.

One server and one volume for most tests, in their order: a Linux takes its time.
"""

from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
from cinder_cloud import CinderCloud

from devcloud.config import cinder, ini
from devcloud.linux_guest import console
from devcloud.multinode.testing import Slots

#: For the manual's rows: a rescue by which the server's own disks stay its own.
STABLE_RESCUE = {"hw_rescue_device": "disk", "hw_rescue_bus": "virtio"}


@pytest.fixture(scope="session")
def flavor(cloud: CinderCloud) -> str:
    return cloud.make_flavor("encrypted", hw__mem_encryption="true")


@pytest.fixture(scope="session")
def image(cloud: CinderCloud) -> str:
    return cloud.make_linux_image("linux", **STABLE_RESCUE)


@pytest.fixture(scope="session")
def server(cloud: CinderCloud, flavor: str, image: str) -> Iterator[Any]:
    server = cloud.boot("with-volumes", flavor, image)
    assert server.status == "ACTIVE", server.fault
    cloud.hear_start(server)
    yield server
    cloud.delete(server)
    cloud.check_slots({name: Slots.all(0) for name in cloud.hosts})


@pytest.fixture(scope="session")
def volume(cloud: CinderCloud, server: Any) -> Any:
    """Attached by the first test."""
    return cloud.make_volume("data")


def check_volume(cloud: CinderCloud, server: Any, volume: Any) -> None:
    """Fail unless the guest has the volume, now and after its next start."""
    cloud.check_encrypted(server)
    for inactive in (False, True):
        disk = cloud.disks(server, inactive=inactive)["vdb"]
        assert disk.file.startswith(f"volume-{volume.id}")
        assert disk.has_iommu


def test_attach(cloud: CinderCloud, server: Any, volume: Any) -> None:
    before = len(cloud.said(server))

    cloud.attach(server, volume)

    check_volume(cloud, server, volume)
    cloud.hear(server, f"added disk vdb sectors={(1 << 30) // 512}", before)
    cloud.hear(
        server,
        r"added virtio\d+ block driver=virtio_blk version_1=1 access_platform=1",
        before,
    )


def test_snapshot_of_a_volume_in_use(
    cloud: CinderCloud, server: Any, volume: Any
) -> None:
    snapshot = cloud.make_snapshot(volume)

    assert cloud.disks(server)["vdb"].format == "qcow2"
    check_volume(cloud, server, volume)

    cloud.do(server, "reboot", {"type": "HARD"})
    assert cloud.disks(server)["vdb"].format == "qcow2"
    check_volume(cloud, server, volume)

    cloud.delete_snapshot(snapshot)

    check_volume(cloud, server, volume)


def test_swap_by_a_change_of_type(cloud: CinderCloud, server: Any, volume: Any) -> None:
    """libvirt 9.0 refuses what Nova defines after the copy; the driver mends it."""
    old = cloud.disks(server)["vdb"]

    cloud.retype(volume, "nfs2")

    swapped = cloud.disks(server)["vdb"]
    assert swapped != old
    # Cinder exchanges the names of both volumes, and not those of their files.
    assert swapped.has_iommu
    cloud.check_encrypted(server)
    said = cloud.said(server)

    cloud.do(server, "reboot", {"type": "HARD"})
    assert cloud.disks(server)["vdb"] == swapped
    cloud.check_encrypted(server)
    # The next test wants to hear of the disk.
    cloud.hear_start(server, said)


def test_extend(cloud: CinderCloud, server: Any, volume: Any) -> None:
    """By Cinder's event to Nova.

    Cinder's NFS driver extends no volume in use. So the file and Cinder's record of it
    are changed here, and the event is sent as Cinder sends it.
    """
    before = len(cloud.said(server))
    grow(cloud, volume, cloud.disks(server)["vdb"].file, 2)
    event = {"name": "volume-extended", "server_uuid": server.id, "tag": volume.id}

    answer = cloud.connection.compute.post(
        "/os-server-external-events",
        json={"events": [event]},
        microversion=cloud.settings.compute_api,
    )

    assert answer.ok, answer.text
    cloud.hear(server, f"resized disk vdb sectors={(2 << 30) // 512}", before)
    assert cloud.disks(server)["vdb"].has_iommu


def grow(cloud: CinderCloud, volume: Any, file: str, size: int) -> None:
    """Make a volume larger.

    :param size: in GiB
    """
    layout = cloud.cloud.layout
    (path,) = (layout.lib(cinder.PROJECT) / "shares").glob(f"*/{file}")
    with path.open("r+b") as raw:
        raw.truncate(size << 30)
    url = ini.read(cinder.conf(layout))["database"]["connection"]
    login, _, address = url.partition("://")[2].partition("@")
    user, _, password = login.partition(":")
    port = int(address.partition(":")[2].partition("/")[0])
    with pymysql.connect(
        host="127.0.0.1",
        port=port,
        user=user,
        password=password,
        database="cinder",
        autocommit=True,
    ) as database:
        database.cursor().execute(
            "UPDATE volumes SET size = %s WHERE id = %s", (size, volume.id)
        )


def test_stop_and_start(cloud: CinderCloud, server: Any) -> None:
    before = cloud.disks(server)["vdb"]

    for action in ("os-stop", "os-start"):
        cloud.do(server, action)

    assert cloud.disks(server)["vdb"] == before
    cloud.check_encrypted(server)


def test_rescue(cloud: CinderCloud, server: Any, image: str) -> None:
    before = cloud.disks(server)["vdb"]

    cloud.do(server, "rescue", {"rescue_image_ref": image})
    disks = cloud.disks(server)
    assert before in disks.values()
    assert any(disk.file == "disk.rescue" for disk in disks.values())
    assert all(disk.has_iommu for disk in disks.values())
    assert cloud.guest(server).launch_security == "sev"

    cloud.do(server, "unrescue")
    assert cloud.disks(server)["vdb"] == before
    cloud.check_encrypted(server)


def test_cold_migration(cloud: CinderCloud, server: Any) -> None:
    before = cloud.disks(server)["vdb"]
    old = cloud.connection.compute.get_server(server).compute_host

    migrated = cloud.migrate(server)

    assert migrated.status == "VERIFY_RESIZE", migrated.fault
    confirmed = cloud.confirm(migrated)
    assert confirmed.compute_host != old
    assert cloud.disks(server)["vdb"] == before
    cloud.check_encrypted(server)


def test_shelve_and_unshelve(cloud: CinderCloud, server: Any) -> None:
    before = cloud.disks(server)["vdb"]

    outcome = cloud.act(server, "shelve")
    assert outcome.result == "Success", outcome.details
    assert outcome.server.status == "SHELVED_OFFLOADED"
    cloud.check_slots({name: Slots.all(0) for name in cloud.hosts})
    cloud.do(server, "unshelve")
    assert cloud.disks(server)["vdb"] == before
    cloud.check_encrypted(server)


def test_evacuation(cloud: CinderCloud, server: Any) -> None:
    before = cloud.disks(server)["vdb"]
    said = cloud.said(server)
    server = cloud.connection.compute.get_server(server)
    dead = cloud.host_of(server)
    dead.switch_off()
    cloud.take_for_dead(dead, True)
    try:
        evacuated = cloud.evacuate(server)
        assert evacuated.status == "SHUTOFF", evacuated.fault
        cloud.do(server, "os-start")
    finally:
        with cloud.restart_of(dead):
            dead.switch_on()
        cloud.take_for_dead(dead, False)
    assert cloud.disks(server)["vdb"] == before
    cloud.check_encrypted(server)
    # It lets go of a disk, which firmware does not.
    cloud.hear_start(server, said)


def test_detach(cloud: CinderCloud, server: Any, volume: Any) -> None:
    lines = cloud.said(server)

    cloud.detach(server, volume)

    cloud.hear(server, "removed disk vdb", len(lines))
    for inactive in (False, True):
        assert "vdb" not in cloud.disks(server, inactive=inactive)
    cloud.check_encrypted(server)


def test_boot_from_a_volume(
    cloud: CinderCloud, server: Any, flavor: str, image: str
) -> None:
    """What the image says of firmware comes to Nova from the volume."""
    # Its Linux is small, and so is the host: one after the other.
    root = cloud.make_volume("root", image_id=image)
    assert root.volume_image_metadata["hw_firmware_type"] == "uefi"
    mapping = {
        "uuid": root.id,
        "source_type": "volume",
        "destination_type": "volume",
        "boot_index": 0,
    }
    guest = cloud.built(
        cloud.connection.compute.create_server(
            name="from-volume",
            flavor_id=flavor,
            networks="none",
            block_device_mapping=[mapping],
        )
    )
    assert guest.status == "ACTIVE", guest.fault
    (disk,) = cloud.disks(guest).values()
    assert disk.file == f"volume-{root.id}"
    assert disk.has_iommu
    assert cloud.guest(guest).launch_security == "sev"
    lines = cloud.hear_start(guest)
    (block,) = [d for d in console.virtio_devices(lines) if d.kind == "block"]
    assert block.has_access_platform

    # Since API 2.87 a server that boots from a volume can be rescued, too.
    cloud.do(guest, "rescue", {"rescue_image_ref": image})
    assert cloud.guest(guest).launch_security == "sev"
    assert all(disk.has_iommu for disk in cloud.disks(guest).values())
    cloud.do(guest, "unrescue")
    assert cloud.disks(guest) == {"vda": disk}

    cloud.delete(guest)
    cloud.volume_is(root, "available")
    cloud.check_encrypted(server)
