# SPDX-License-Identifier: Apache-2.0

"""Unpack another Debian's libvirt, QEMU and firmware into .venv/rootfs.

``python tools/rootfs.py trixie``. For tests of what this machine's own libvirt is
too old for. What debootstrap does in minutes, without the part that takes them: the
packages are unpacked, and their scripts, which would set up services, are not run.
Needs no root. The packages come from the mirror that this machine's apt uses,
or from $DEBIAN_MIRROR, and are checked against the keys that it trusts.

Where there is no mirror, the folder is made without them, so that tests go on, and
its file ``ready`` says so: the Makefile has it made again once a mirror is named.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import progress
from bootstrap import ROOT

FOLDER = ROOT / ".venv" / "rootfs"
LOG = ROOT / ".venv" / "rootfs.log"
MIRROR = "DEBIAN_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: A libvirtd and what it runs: QEMU, its firmware, and the simulator's Python. Not
#: libvirt's network driver, which does not start without a firewall that is set up.
PACKAGES = (
    *("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-daemon-driver-nodedev"),
    *("libvirt-daemon-driver-secret", "libvirt-daemon-driver-storage"),
    *("qemu-system-x86", "ovmf", "python3", "util-linux", "coreutils", "dash"),
    "libc-bin",
)
#: Of no use to a daemon, and a third of it all.
SPARED = ("usr/share/doc", "usr/share/man", "usr/share/locale")
FETCHED = r"Get:\d+ \S+ \S+ \S+ ([A-Za-z][^\s:]*)"
UNPACKED = r"(\S+)"
_UNPACK = (
    'for deb; do basename "$deb" | cut -d _ -f 1; dpkg-deb --extract "$deb" "$0"; done'
)


def main() -> int:
    """Make the folder, if this machine is not such a Debian itself."""
    (codename,) = sys.argv[1:]
    target = FOLDER / codename
    system = platform.freedesktop_os_release()
    start = time.monotonic()
    shutil.rmtree(target, ignore_errors=True)
    new = target.with_name(f"{codename}.new")
    shutil.rmtree(new, ignore_errors=True)
    (new / "usr").mkdir(parents=True)
    lacking = ""
    if system.get("VERSION_CODENAME") == codename:
        progress.say(f"this machine is {codename} itself: nothing to unpack")
    else:
        uri = mirror(system)
        if uri is None:
            lacking = no_mirror(f"no tests with {codename}")
        else:
            unpack(fetch(uri, codename, new / "apt", PACKAGES), new)
    shutil.rmtree(new / "apt", ignore_errors=True)
    (new / "ready").write_text(lacking)
    new.rename(target)
    progress.say(f"{target.relative_to(ROOT)} in {time.monotonic() - start:.0f} s")
    return 0


def mirror(system: dict[str, str]) -> str | None:
    """Return where this machine gets Debian from, None if it does not."""
    if uri := os.environ.get(MIRROR):
        return uri
    if system.get("ID") != "debian":
        return None
    # Also where no package list has been fetched yet.
    command = ["apt-get", "indextargets", "--no-release-info"]
    command += ["Created-By: Packages"]
    command += ["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
    targets = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return debian_of(targets.stdout.splitlines(), system["VERSION_CODENAME"])


def no_mirror(consequence: str) -> str:
    """Say that there is no mirror, and what follows; return what is lacking."""
    lacking = f"{consequence}: apt has no Debian mirror here"
    progress.say(lacking)
    progress.say(f"set {MIRROR} to the address of one, and repeat")
    return lacking


def debian_of(targets: Iterable[str], codename: str) -> str | None:
    """Return the address of the release's own archive among apt's sources.

    :param targets: lines of address, suite and component.
    """
    suites = {codename, "stable", "oldstable", "testing"}
    for line in targets:
        uri, suite, component = line.split(" ")
        if suite in suites and component == "main":
            return uri
    return None


def fetch(
    uri: str, codename: str, work: Path, packages: Iterable[str], *alone: str
) -> list[Path]:
    """Have apt find and fetch packages with all that they depend on.

    :param alone: packages to fetch without what they depend on.
    """
    update(uri, codename, work)
    progress.say(f"fetching {codename}'s packages")
    command = [*_apt(work), "install", "--download-only", *packages]
    progress.run(command, LOG, FETCHED)
    if alone:
        download(work, *alone)
    return sorted((work / "archives").glob("*.deb"))


def update(uri: str, codename: str, work: Path) -> None:
    """Have apt fetch the lists of a release's packages to a folder."""
    for folder in ("lists/partial", "archives/partial"):
        (work / folder).mkdir(parents=True)
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    (work / "sources").write_text(f"deb {signed}{uri} {codename} main\n")
    (work / "status").touch()  # nothing is installed
    progress.say(f"fetching {codename}'s package lists")
    progress.run([*_apt(work), "update"], LOG, FETCHED)


def download(work: Path, *packages: str) -> list[Path]:
    """Have apt fetch packages without what they depend on, by the lists in ``work``."""
    # apt puts these where it is run.
    command = ["env", f"--chdir={work}/archives", *_apt(work), "download", *packages]
    progress.run(command, LOG, FETCHED)
    return sorted((work / "archives").glob("*.deb"))


def _apt(work: Path) -> list[str]:
    return ["apt-get", *(f"-o{option}" for option in apt_options(work)), "--yes"]


def apt_options(work: Path) -> list[str]:
    """Return what keeps apt away from the machine's own packages and sources.

    Its proxies, keys and passwords stay in use.
    """
    return [
        f"Dir::State={work}",
        f"Dir::State::lists={work}/lists",
        f"Dir::State::status={work}/status",
        f"Dir::Cache={work}",
        f"Dir::Cache::archives={work}/archives",
        f"Dir::Etc::sourcelist={work}/sources",
        "Dir::Etc::sourceparts=/dev/null",
        "Dir::Etc::preferences=/dev/null",
        "Dir::Etc::preferencesparts=/dev/null",
        "Acquire::Languages=none",
        "APT::Install-Recommends=false",
        "APT::Sandbox::User=root",  # the folder is not open to apt's own user
        "Debug::NoLocking=true",  # the lock would be the machine's
    ]


def unpack(packages: Iterable[Path], root: Path) -> None:
    """Unpack them over each other, without what only people read."""
    progress.say("unpacking them")
    command = ["sh", "-ec", _UNPACK, str(root), *map(str, packages)]
    progress.run(command, LOG, UNPACKED)
    for folder in SPARED:
        shutil.rmtree(root / folder, ignore_errors=True)


if __name__ == "__main__":
    progress.finish(main)
