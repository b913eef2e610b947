# SPDX-License-Identifier: Apache-2.0

"""Make the Linux guest's disk below .venv/linux-guest.

``python tools/linux_guest.py``. Debian's kernel and busybox are fetched as
tools/rootfs.py fetches packages, and unpacked; nothing is installed, and no root is
needed. Of which Debian this machine is does not matter: the guest is the same on all.

Where there is no mirror, the folder is made without the disk, and its file ``ready``
says so: the Makefile has it made again once a mirror is named.
"""

import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import bootstrap
import progress
import rootfs

from devcloud import linux_guest
from devcloud.linux_guest import image

CODENAME = "trixie"
_DEPENDS = "Depends: "


def main() -> int:
    """Make the disk, or say why there is none."""
    start = time.monotonic()
    shutil.rmtree(linux_guest.FOLDER, ignore_errors=True)
    linux_guest.FOLDER.mkdir()
    uri = rootfs.mirror(platform.freedesktop_os_release())
    if uri is None:
        lacking = rootfs.no_mirror("no Linux for guests")
        linux_guest.REASON.write_text(f"{lacking}; set {rootfs.MIRROR}")
        return 0
    with tempfile.TemporaryDirectory(dir=linux_guest.FOLDER) as folder:
        work = Path(folder)
        packages = work / "packages"
        packages.mkdir()
        rootfs.unpack(fetch(uri, work / "apt"), packages)
        progress.say("making the Linux guest's disk")
        image.build(packages, work, linux_guest.DISK)
    linux_guest.REASON.touch()
    name = linux_guest.DISK.relative_to(bootstrap.ROOT)
    progress.say(f"{name} in {time.monotonic() - start:.0f} s")
    return 0


def fetch(uri: str, work: Path) -> list[Path]:
    """Fetch the packages, and no others that they depend on."""
    rootfs.update(uri, CODENAME, work)
    progress.say("fetching the Linux guest's packages")
    return rootfs.download(work, *image.PACKAGES, kernel(work))


def kernel(work: Path) -> str:
    """Return the package of the newest kernel, by the lists fetched to ``work``."""
    options = [f"-o{option}" for option in rootfs.apt_options(work)]
    command = ["apt-cache", *options, "depends", image.KERNEL]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    (name,) = [
        line.partition(_DEPENDS)[2]
        for line in lines.stdout.splitlines()
        if _DEPENDS in line
    ]
    return name


if __name__ == "__main__":
    progress.finish(main)
