# SPDX-License-Identifier: Apache-2.0

"""The Linux guest: its disk's parts, and what its console says."""

import lzma
import subprocess
from pathlib import Path

import pytest

from devcloud import linux_guest
from devcloud.linux_guest import console, image

LOG = (
    "\x1b[2J\x1b[01;01HBdsDxe: starting Boot0001\r\n"
    "guest: Linux 6.12.0 up 4.1 s\r\nguest: ready\r\n"
    "~ # guest: power button\r\n"
    "guest: Linux 6.12.0 up 5.0 s\r\n"
    "[    6.0] virtio_balloon virtio2: virtio: device refuses features: 3\r\n"
    "guest: virtio0 block driver=virtio_blk version_1=1 access_platform=1\r\n"
    "guest: virtio2 balloon driver=none version_1=1 access_platform=0\r\n"
    "guest: ready\r\n"
    "~ # guest: added virtio3 net driver=virtio_net version_1=1 access_platform=1\r\n"
    "guest: removed virtio3\r\n"
)


def module(depends: str) -> bytes:
    """A kernel module, as far as the guest's disk looks into it."""
    return b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A kernel's modules, all that are wanted; virtio_pci is built in."""
    folder = tmp_path / "6.12.0"
    (folder / "kernel").mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    for name in image.MODULES:
        if name != "virtio_pci":
            (folder / "kernel" / f"{name}.ko").write_bytes(module(""))
    return folder


def test_modules_come_with_what_they_depend_on_and_without_those_built_in(
    modules: Path,
) -> None:
    kernel = modules / "kernel"
    (kernel / "virtio_net.ko").unlink()
    packed = lzma.compress(module("net-failover,virtio_pci"))
    (kernel / "virtio-net.ko.xz").write_bytes(packed)
    (kernel / "net_failover.ko").write_bytes(module("failover"))
    (kernel / "failover.ko").write_bytes(module(""))
    (kernel / "unwanted.ko").write_bytes(module(""))

    selected = image.select(modules)

    wanted = {*image.MODULES, "net_failover", "failover"} - {"virtio_pci"}
    assert set(selected) == wanted
    assert selected["virtio_net"] == module("net-failover,virtio_pci")


def test_a_module_that_is_nowhere_is_named(modules: Path) -> None:
    (modules / "kernel" / "virtio_blk.ko").unlink()

    with pytest.raises(image.ImageError, match="has no module virtio_blk"):
        image.select(modules)


def test_the_console_is_read_from_the_last_start_on() -> None:
    lines = console.lines(LOG)

    assert lines[0] == "Linux 6.12.0 up 5.0 s"
    assert "power button" not in lines
    assert console.READY in lines
    disk, balloon, net = console.virtio_devices(lines)
    assert disk == console.VirtioDevice(
        "virtio0", "block", "virtio_blk", has_version_1=True, has_access_platform=True
    )
    assert (balloon.driver, balloon.has_access_platform) == (None, False)
    assert (net.name, net.kind) == ("virtio3", "net")


def test_the_scripts_of_the_guest_are_without_mistakes_of_syntax() -> None:
    root = Path(linux_guest.__file__).with_name("root") / "etc"
    scripts = [root / "rc", root / "report", root / "hotplug"]
    for script in (*scripts, root / "acpi" / "PWRF" / "00000080"):
        subprocess.run(["sh", "-n", script], check=True)


def test_why_there_is_no_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux_guest, "DISK", tmp_path / "disk.qcow2")
    monkeypatch.setattr(linux_guest, "REASON", tmp_path / "ready")
    assert linux_guest.disk() is None
    assert "make setup-linux" in linux_guest.reason()

    (tmp_path / "ready").write_text("no mirror")

    assert linux_guest.reason() == "no mirror"
