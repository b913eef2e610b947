# SPDX-License-Identifier: Apache-2.0
"""A cloud with two hosts and Cinder, and what its user asks of Cinder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import openstack
from lxml import etree
from openstack.utils import iterate_timeout

from devcloud.multinode.testing import MultinodeFixture, Slots

#: In seconds, for a copy of a volume on a busy machine.
TIMEOUT = 180
#: Of Cinder's API: the first that moves an attached volume (3.60 shows its type).
MICROVERSION = "3.60"


class Disk(NamedTuple):
    """A disk of a running guest, as libvirt has it."""

    #: The file's name.
    file: str
    format: str
    has_iommu: bool


class CinderCloud(MultinodeFixture):
    """A running cloud with volumes."""

    def make_volume(self, name: str, **more: Any) -> Any:
        volume = self.connection.block_storage.create_volume(
            name=name, size=1, volume_type="nfs1", **more
        )
        return self.volume_is(volume, "available")

    def volume_is(self, volume: Any, status: str) -> Any:
        """The volume, once it has that status."""

        def look() -> Any:
            found = self.connection.block_storage.get_volume(volume.id)
            assert not found.status.startswith("error"), found.status
            return found if found.status == status else None

        return _until(f"{volume.name} is not {status}", look)

    def attach(self, server: Any, volume: Any) -> Any:
        self._attachments(server, "post", json={"volumeAttachment": _of(volume)})
        return self.volume_is(volume, "in-use")

    def detach(self, server: Any, volume: Any) -> Any:
        self._attachments(server, "delete", f"/{volume.id}")
        return self.volume_is(volume, "available")

    def _attachments(
        self, server: Any, method: str, path: str = "", **more: Any
    ) -> None:
        answer = getattr(self.connection.compute, method)(
            f"/servers/{server.id}/os-volume_attachments{path}",
            microversion=self.settings.compute_api,
            **more,
        )
        openstack.exceptions.raise_from_response(answer)

    def make_snapshot(self, volume: Any) -> Any:
        """Of a volume that may be in use."""
        storage = self.connection.block_storage
        snapshot = storage.create_snapshot(
            volume_id=volume.id, name="snapshot", force=True
        )

        def look() -> Any:
            found = storage.get_snapshot(snapshot.id)
            assert found.status != "error"
            return found if found.status == "available" else None

        return _until("the snapshot is not available", look)

    def delete_snapshot(self, snapshot: Any) -> None:
        storage = self.connection.block_storage
        storage.delete_snapshot(snapshot)

        def look() -> bool:
            found = [s for s in storage.snapshots() if s.id == snapshot.id]
            assert not found or not found[0].status.startswith("error")
            return not found

        _until("the snapshot is not gone", look)

    def retype(self, volume: Any, volume_type: str) -> None:
        """Have Cinder move the volume to another back end; Nova copies it."""
        storage = self.connection.block_storage
        request = {"new_type": volume_type, "migration_policy": "on-demand"}
        answer = storage.post(
            f"/volumes/{volume.id}/action",
            json={"os-retype": request},
            microversion=MICROVERSION,
        )
        openstack.exceptions.raise_from_response(answer)

        def look() -> bool:
            found = storage.get(f"/volumes/{volume.id}", microversion=MICROVERSION)
            values = found.json()["volume"]
            assert values["migration_status"] != "error", values
            moved = values["volume_type"] == volume_type
            return bool(moved and values["status"] == "in-use")

        _until(f"{volume.name} is not of type {volume_type}", look)

    def disks(self, server: Any, *, inactive: bool = False) -> dict[str, Disk]:
        """The server's virtio disks by their target.

        :param inactive: those of the domain's next start
        """
        with self.domain_of(server) as domain:
            # VIR_DOMAIN_XML_INACTIVE
            xml = etree.fromstring(domain.XMLDesc(2 if inactive else 0))
        return dict(map(_disk, xml.findall("devices/disk/target[@bus='virtio']/..")))

    def check_encrypted(self, server: Any) -> None:
        """Fail unless it runs encrypted, with iommu on each of its devices.

        It has the only slot of the cloud that is in use, by each that counts them.
        """
        self.check_iommu(server)
        server = self.connection.compute.get_server(server)
        self.check_slots(
            {name: Slots.all(int(name == server.compute_host)) for name in self.hosts}
        )


def _of(volume: Any) -> dict[str, str]:
    return {"volumeId": volume.id}


def _disk(disk: etree._Element) -> tuple[str, Disk]:
    target, driver = disk.find("target"), disk.find("driver")
    source = disk.find("source")
    assert target is not None
    assert driver is not None
    assert source is not None
    file = Path(str(source.get("file"))).name
    iommu = driver.get("iommu") == "on"
    return str(target.get("dev")), Disk(file, str(driver.get("type")), iommu)


def _until(complaint: str, look: Callable[[], Any]) -> Any:
    # Cinder tells nobody: one has to look again.
    for _ in iterate_timeout(TIMEOUT, complaint, wait=0.3):
        if found := look():
            return found
    raise AssertionError("iterate_timeout raises")
