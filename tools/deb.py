# SPDX-License-Identifier: Apache-2.0

"""Build the Debian package in Debian 13, and put it into dist/.

``python tools/deb.py``. The build tools and Nova's own package are unpacked into
.venv/rootfs/trixie-nova, as tools/rootfs.py does, and the package is built in there by
dpkg-buildpackage. Nothing is installed on this machine. The version is that of
setup.cfg and the number of commits, as in the wheel: 1.0.0~dev294-1.
"""

from __future__ import annotations

import configparser
import email.utils
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import progress
import rootfs
from bootstrap import ROOT

CODENAME = "trixie"
FOLDER = rootfs.FOLDER / f"{CODENAME}-nova"
DIST = ROOT / "dist"
LOG = ROOT / ".venv" / "deb.log"
#: A system that runs scripts, what builds the package, and what it depends on.
PACKAGES = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils"),
    *("diffutils", "findutils", "grep", "gzip", "hostname", "libc-bin", "mawk", "sed"),
    *("tar", "util-linux", "debhelper", "dh-python", "dpkg-dev", "python3-all"),
    "python3-pbr",
    *("python3-setuptools", "python3-nova", "python3-libvirt"),
)
#: Not with what they depend on: a hypervisor.
ALONE = ("nova-compute", "nova-compute-kvm", "nova-common")
#: What an unpacked system lacks that the scripts of the packages would have made.
LINKS = {"usr/bin/awk": "mawk", "etc/dpkg/origins/default": "debian"}
#: The mounts are seen by the command alone.
_ENTER = """
for folder in dev proc; do
    mkdir -p "$0/$folder"
    mount --rbind "/$folder" "$0/$folder"
done
exec chroot "$0" sh -ec 'cd "$0"; exec "$@"' "$@"
"""
FILES = {"etc/passwd": "passwd.master", "etc/group": "group.master"}


def main() -> int:
    """Build the package."""
    if not (FOLDER / "ready").exists() and not set_up():
        return 0
    build(FOLDER)
    return 0


def set_up() -> bool:
    """Unpack Debian's packages; return whether there is a mirror to take them from."""
    uri = rootfs.mirror(platform.freedesktop_os_release())
    if uri is None:
        progress.say(
            f"no Debian package: apt has no Debian mirror here; set "
            f"{rootfs.MIRROR} to the address of one"
        )
        return False
    new = FOLDER.with_name(f"{FOLDER.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    (new / "usr").mkdir(parents=True)
    packages = rootfs.fetch(uri, CODENAME, new / "apt", PACKAGES, *ALONE)
    rootfs.unpack(packages, new)
    configure(new)
    register(packages, new)
    # Python keeps what it compiles, for the test and the next one.
    inside(new, "python3", "-W", "ignore", "-c", "import nova.virt.libvirt.driver")
    shutil.rmtree(new / "apt")
    (new / "ready").touch()
    shutil.rmtree(FOLDER, ignore_errors=True)
    new.rename(FOLDER)
    return True


def configure(root: Path) -> None:
    """Do what the scripts of the packages would have done, as far as it is needed."""
    for link, target in LINKS.items():
        if not (root / link).is_symlink():
            (root / link).symlink_to(target)
    for file, master in FILES.items():
        shutil.copy(root / "usr/share/base-passwd" / master, root / file)
    # Python's requests reads it when it is imported.
    authorities = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (root / "etc/ssl/certs/ca-certificates.crt").write_text(
        "".join(each.read_text() for each in authorities)
    )


def register(packages: Iterable[Path], root: Path) -> None:
    """Have dpkg there know the packages, so that it checks what others depend on."""
    database = root / "var/lib/dpkg"
    (database / "info").mkdir(parents=True, exist_ok=True)
    (database / "updates").mkdir(exist_ok=True)
    entries = []
    for package in packages:
        fields = _output(["dpkg-deb", "--field", str(package)])
        name = next(
            line.removeprefix("Package: ")
            for line in fields.splitlines()
            if line.startswith("Package: ")
        )
        entries.append(f"{fields.rstrip()}\nStatus: install ok installed\n")
        owned = ""
        if "nova" in name:
            # dpkg refuses to overwrite these.
            members = _output(["dpkg-deb", "--contents", str(package)]).splitlines()
            paths = (line.split(None, 5)[5].partition(" -> ")[0] for line in members)
            owned = "".join(
                f"{path.removeprefix('.').rstrip('/') or '/.'}\n" for path in paths
            )
        qualified = f"{name}:amd64" if "Multi-Arch: same" in fields else name
        (database / "info" / f"{qualified}.list").write_text(owned)
    (database / "status").write_text("\n".join(entries))


def build(root: Path) -> Path:
    """Build the package in ``root``; return it, in dist/."""
    version = debian_version()
    source = root / "build" / "sev-driver"
    shutil.rmtree(source.parent, ignore_errors=True)
    copy_tree(source)
    changelog = source / "debian" / "changelog"
    changelog.write_text(entry(version) + changelog.read_text())
    progress.say(f"building version {version}")
    command = [
        "dpkg-buildpackage",
        "--build=binary",
        "--no-sign",
        "--no-check-builddeps",
    ]
    inside(root, *command, folder="/build/sev-driver")
    DIST.mkdir(exist_ok=True)
    (built,) = source.parent.glob("*.deb")
    for older in DIST.glob("python3-sev-driver_*.deb"):
        older.unlink()
    shutil.copy(built, DIST)
    shutil.rmtree(source.parent)
    progress.say(f"dist/{built.name}")
    return DIST / built.name


def inside(root: Path, *command: str, folder: str = "/") -> str:
    """Run a command with ``root`` as its file system; return its output.

    As another user than root, in a user namespace in which it is root.

    :raises subprocess.CalledProcessError: it fails; its output is in the log.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--mount", "sh", "-ec", _ENTER, str(root), folder, *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with LOG.open("a") as log:
        log.write(done.stdout)
    done.check_returncode()
    return done.stdout


def copy_tree(target: Path) -> None:
    """Copy what git knows of this tree, with what is not committed yet."""
    names = _output(
        [
            "git",
            "-C",
            str(ROOT),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]
    )
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def debian_version() -> str:
    """Return the version of a package that is built of this commit."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    count = _output(["git", "-C", str(ROOT), "rev-list", "--count", "HEAD"]).strip()
    return f"{parser['metadata']['version']}~dev{count}-1"


def entry(version: str) -> str:
    """Return the entry of debian/changelog for a version."""
    return (
        f"sev-driver ({version}) UNRELEASED; urgency=medium\n\n"
        "  * Build of a clone.\n\n"
        f" -- sev_driver contributors <sev_driver@localhost>  "
        f"{email.utils.formatdate(usegmt=False)}\n\n"
    )


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    progress.finish(main)
