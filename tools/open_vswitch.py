# SPDX-License-Identifier: Apache-2.0

"""Unpack Debian 13's Open vSwitch, with DPDK, below .venv/open-vswitch.

``python tools/open_vswitch.py``. The packages and the libraries that its programs need
are fetched as tools/rootfs.py fetches packages, and unpacked; nothing is installed, and
no root is needed.

Where there is no mirror, the folder is made without them, and its file ``ready`` says
so: the Makefile has it made again once a mirror is named.
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

from devcloud import open_vswitch

CODENAME = "trixie"
_DPDK = (
    *("eal", "log", "kvargs", "telemetry", "ring", "mempool", "mbuf", "rcu", "hash"),
    *("cryptodev", "dmadev", "meter", "net", "ethdev", "pci", "vhost", "mempool-ring"),
)
#: Not what the packages' scripts need, which are not run.
PACKAGES = (
    *("openvswitch-common", "openvswitch-switch", "openvswitch-switch-dpdk"),
    *("libc6", "libgcc-s1", "libcap-ng0", "libnuma1", "libssl3t64", "zlib1g"),
    *("libzstd1", "libbpf1", "libelf1t64", "libxdp1", "libunbound8"),
    *("libevent-2.1-7t64", "libbsd0", "libmd0", "libfdt1"),
    *(f"librte-{name}25" for name in _DPDK),
)


def main() -> int:
    """Unpack it, or say why not."""
    start = time.monotonic()
    folder = open_vswitch.FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    uri = rootfs.mirror(platform.freedesktop_os_release())
    if uri is None:
        lacking = rootfs.no_mirror("no Open vSwitch")
        open_vswitch.REASON.write_text(f"{lacking}; set {rootfs.MIRROR}")
        return 0
    with tempfile.TemporaryDirectory(dir=folder) as work:
        rootfs.update(uri, CODENAME, Path(work))
        progress.say("fetching Open vSwitch's packages")
        packages = rootfs.download(Path(work), *PACKAGES)
        rootfs.unpack(packages, open_vswitch.ROOT)
    check()
    open_vswitch.REASON.touch()
    name = folder.relative_to(bootstrap.ROOT)
    progress.say(f"{name} in {time.monotonic() - start:.0f} s")
    return 0


def check() -> None:
    """Fail if a program needs a library that is not unpacked."""
    root = str(open_vswitch.ROOT)
    for name, path in open_vswitch.PROGRAMS.items():
        program = str(open_vswitch.ROOT / path)
        found = subprocess.run(
            [open_vswitch.LOADER, "--list", program],
            env=open_vswitch.LIBRARY_PATH,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in found.stdout.splitlines():
            library, arrow, place = line.strip().partition(" => ")
            if arrow and not place.startswith(root):
                raise SystemExit(f"{name} needs {library}: {place}")


if __name__ == "__main__":
    progress.finish(main)
