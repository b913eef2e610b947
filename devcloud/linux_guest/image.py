# SPDX-License-Identifier: Apache-2.0

"""The disk of the Linux guest, from unpacked Debian packages.

Debian's cloud kernel, and a root file system of busybox and a few kernel modules, are
one program that UEFI boots: a unified kernel image, which systemd's ukify makes.
"""

import gzip
import lzma
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from devcloud import boot_disk

#: With these the packages are complete: none of them needs another one.
PACKAGES = ("busybox-static", "systemd-boot-efi", "systemd-ukify", "python3-pefile")
#: Debian's package that depends on the newest kernel for virtual machines.
KERNEL = "linux-image-cloud-amd64"
SIZE = 32 << 20
#: Those of the virtio devices, of other disks that Nova gives to a guest, of its power
#: button and of SEV-SNP's own device. A kernel has some of them built in.
MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_balloon"),
    *("virtio_scsi", "virtio_input", "vmw_vsock_virtio_transport"),
    *("ahci", "sd_mod", "sr_mod", "isofs", "button", "evdev", "sev_guest"),
)
#: All to the serial port. A kernel that panics starts again.
COMMAND_LINE = "console=ttyS0 quiet panic=-1"

_ROOT = Path(__file__).with_name("root")
_MOUNT_POINTS = ("proc", "sys", "dev", "tmp", "root", "mnt")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


class ImageError(RuntimeError):
    """The disk was not made; the message says why."""


def build(packages: Path, work: Path, target: Path) -> None:
    """Make the guest's disk.

    :param packages: the folder that Debian's packages were unpacked in
    :param work: a folder for what is made on the way
    :param target: the disk, in qcow2
    :raises ImageError: the packages lack a kernel module, or ukify failed
    """
    (modules,) = packages.glob("usr/lib/modules/*")
    release = modules.name
    busybox = packages / "usr" / "bin" / "busybox"
    root = work / "root"
    _fill(root, busybox, release, select(modules))
    initrd = work / "initrd"
    initrd.write_bytes(gzip.compress(_archive(root, busybox), 6, mtime=0))
    program = work / "BOOTX64.EFI"
    _unify(packages, release, initrd, program)
    boot_disk.write(target, program.read_bytes(), SIZE)


def select(folder: Path) -> dict[str, bytes]:
    """Return the modules of MODULES that are not built in, and what they depend on.

    :param folder: of one kernel's modules
    :return: name to what is in the file, unpacked
    :raises ImageError: a module is neither there nor built in
    """
    files = {_name(path): path for path in folder.rglob("*.ko*")}
    built_in = {
        _name(Path(line))
        for line in (folder / "modules.builtin").read_text().splitlines()
    }
    selected: dict[str, bytes] = {}

    def add(names: Iterable[str]) -> None:
        for name in names:
            if name in selected or name in built_in:
                continue
            if name not in files:
                raise ImageError(f"the kernel in {folder} has no module {name}")
            module = selected[name] = _unpacked(files[name])
            add(dependencies(module))

    add(MODULES)
    return selected


def dependencies(module: bytes) -> list[str]:
    """Return the names in a module's ``depends``, which modinfo(8) prints."""
    found = _DEPENDS.search(module)
    names = found[1].decode().split(",") if found else []
    return [name.replace("-", "_") for name in names if name]


def _name(path: Path) -> str:
    """Return a module's name: its file has either hyphens or underscores."""
    return path.name.partition(".ko")[0].replace("-", "_")


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _fill(root: Path, busybox: Path, release: str, modules: dict[str, bytes]) -> None:
    """Make the guest's root file system in ``root``."""
    shutil.copytree(_ROOT, root)
    for name in (*_MOUNT_POINTS, "bin"):
        (root / name).mkdir()
    shutil.copy(busybox, root / "bin" / "busybox")
    (root / "init").symlink_to("bin/busybox")
    applets = subprocess.run(
        [busybox, "--list"], stdout=subprocess.PIPE, text=True, check=True
    )
    for applet in applets.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    # modprobe looks nowhere else.
    (root / "sbin").symlink_to("bin")
    folder = root / "lib" / "modules" / release
    folder.mkdir(parents=True)
    for name, data in modules.items():
        (folder / f"{name}.ko").write_bytes(data)
    (root / "etc" / "modules").write_text("\n".join(modules) + "\n")
    depmod = [str(busybox), "depmod", "-b", str(root), release]
    subprocess.run(depmod, check=True)


def _archive(root: Path, busybox: Path) -> bytes:
    """Return the archive that the kernel unpacks (its initramfs-buffer-format.rst)."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    command = [str(busybox), "cpio", "-o", "-H", "newc", "-R", "0:0"]
    return subprocess.run(
        command,
        cwd=root,
        input="".join(f"{name}\n" for name in names).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    ).stdout


def _unify(packages: Path, release: str, initrd: Path, target: Path) -> None:
    lib = packages / "usr" / "lib"
    kernel = packages / "boot" / f"vmlinuz-{release}"
    stub = lib / "systemd" / "boot" / "efi" / "linuxx64.efi.stub"
    command = [sys.executable, "-B", str(packages / "usr" / "bin" / "ukify"), "build"]
    command += [f"--linux={kernel}", f"--initrd={initrd}", f"--stub={stub}"]
    command += [f"--cmdline={COMMAND_LINE}", f"--uname={release}"]
    command += ["--os-release=ID=devcloud\n"]
    command += [f"--output={target}"]
    environment = {**os.environ, "PYTHONPATH": str(lib / "python3" / "dist-packages")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise ImageError(f"ukify made no kernel image: {result.stderr}")
