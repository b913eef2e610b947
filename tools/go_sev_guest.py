# SPDX-License-Identifier: Apache-2.0

"""Build go-sev-guest's ``check`` from Debian 13's packages into .venv/go-sev-guest.

It verifies attestation reports, and sev_driver has no part in it. Go, the sources and
what they need are fetched as ``rootfs.py`` does it, and removed when it is built.

Debian's package leaves out the PEM files that the sources embed: AMD's certificates and
the keys of its tests. Others stand in for them, so that this ``check`` trusts only
what is named to it by -product_key_path. Where apt has no Debian mirror, the file
``ready`` says so and the tests that need it are left out.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from pathlib import Path

import progress
import rootfs
from bootstrap import ROOT
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

TARGET = ROOT / ".venv" / "go-sev-guest"
LOG = ROOT / ".venv" / "go-sev-guest.log"
CODENAME = "trixie"
PACKAGES = (
    "golang-go",
    "golang-github-google-go-sev-guest-dev",
    "golang-github-google-go-configfs-tsm-dev",
)
_MODULE = "github.com/google/go-sev-guest"
_CHAINS = (
    *("ask_ark_milan", "ask_ark_milan_vlek", "ask_ark_genoa", "ask_ark_genoa_vlek"),
    *("ask_ark_turin_vcek", "ask_ark_turin_vlek"),
)


def main() -> int:
    """Build it, if it is not there; say where there is no mirror."""
    start = time.monotonic()
    shutil.rmtree(TARGET, ignore_errors=True)
    new = TARGET.with_name(f"{TARGET.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    rootfs.LOG = LOG
    uri = rootfs.mirror(platform.freedesktop_os_release())
    lacking = ""
    if uri is None:
        lacking = rootfs.no_mirror("no tests with go-sev-guest")
    else:
        work = new / "work"
        rootfs.unpack(rootfs.fetch(uri, CODENAME, new / "apt", PACKAGES), work)
        shutil.rmtree(new / "apt")
        build(work, new / "check")
        shutil.rmtree(work)
    (new / "ready").write_text(lacking)
    new.rename(TARGET)
    progress.say(f"{TARGET.relative_to(ROOT)} in {time.monotonic() - start:.0f} s")
    return 0


def build(root: Path, program: Path) -> None:
    """Build the program from sources that are unpacked in ``root``."""
    progress.say("building go-sev-guest's check")
    (overlay := root / "overlay.json").write_text(
        json.dumps({"Replace": stand_ins(root)})
    )
    (go_root,) = (root / "usr/lib").glob("go-1.*")
    variables = {
        "GOROOT": str(go_root),
        "GOPATH": str(root / "usr/share/gocode"),
        "GOCACHE": str(root / "cache"),
        **{"GO111MODULE": "off", "CGO_ENABLED": "0", "GOFLAGS": "-p=2"},
        **{"GOTOOLCHAIN": "local", "HOME": str(root)},
    }
    command = [str(go_root / "bin/go"), "build", "-overlay", str(overlay)]
    command += ["-o", str(program), f"{_MODULE}/tools/check"]
    progress.run(command, LOG, r"(\S+)", {**os.environ, **variables})


def stand_ins(root: Path) -> dict[str, str]:
    """Write a file for each that the package lacks; return its name in the sources."""
    sources = root / "usr/share/gocode/src" / _MODULE
    made = root / "stand-ins"
    made.mkdir()
    found = {}
    for name in _CHAINS:
        found[f"verify/trust/{name}.pem"] = b""
    for name in ("vcek", "vlek"):
        key = ec.generate_private_key(ec.SECP384R1())
        found[f"testing/data/keys/{name}_private_key.pem"] = _pem(key)
    for name in ("ark", "ask", "asvk"):
        found[f"testing/data/keys/{name}_private_key.pem"] = _pem(
            rsa.generate_private_key(65537, 2048)
        )
    for number, data in enumerate(found.values()):
        (made / f"{number}.pem").write_bytes(data)
    return {
        str(sources / name): str(made / f"{number}.pem")
        for number, name in enumerate(found)
    }


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


if __name__ == "__main__":
    progress.finish(main)
