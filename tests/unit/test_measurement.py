# SPDX-License-Identifier: Apache-2.0
"""measurement: digests and ID blocks by the library, or why there are none."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ovmf_file
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from sev_driver import measurement
from sev_driver.exceptions import DetectionError
from sev_driver.measurement import LaunchFacts

#: Older Nova's environments do not have it: digests are unknown there.
HAS_LIBRARY = measurement.is_available()
with_library = pytest.mark.skipif(not HAS_LIBRARY, reason=measurement.NOT_INSTALLED)
MILAN = 0xA00F11


@pytest.fixture
def facts(tmp_path: Path) -> LaunchFacts:
    firmware = tmp_path / "OVMF.fd"
    firmware.write_bytes(ovmf_file.amdsev())
    return LaunchFacts(str(firmware), 2, MILAN)


@pytest.fixture
def kernel(tmp_path: Path, facts: LaunchFacts) -> LaunchFacts:
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).write_text(f"a {name}\n")
    return dataclasses.replace(
        facts,
        kernel=str(tmp_path / "vmlinuz"),
        initrd=str(tmp_path / "initrd"),
        cmdline="console=ttyS0",
    )


def by_the_program(facts: LaunchFacts) -> str:
    """Return what the library's own program prints."""
    command = [sys.executable, "-m", "sevsnpmeasure.cli", "--mode", "snp"]
    command += ["--vcpus", str(facts.vcpus), "--vcpu-sig", str(facts.cpu_signature)]
    command += ["--ovmf", facts.firmware, "--guest-features", str(facts.features)]
    if facts.kernel:
        command += ["--kernel", facts.kernel, "--append", facts.cmdline]
    if facts.initrd:
        command += ["--initrd", facts.initrd]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@with_library
def test_digest_is_that_of_the_program(facts: LaunchFacts, kernel: LaunchFacts) -> None:
    for each in (facts, kernel, dataclasses.replace(kernel, initrd=None)):
        assert measurement.launch_digest(each) == by_the_program(each)


@with_library
@pytest.mark.parametrize(
    "change",
    [
        {"vcpus": 3},
        {"cpu_signature": 0xA10F10},
        {"features": 0x21},
        {"kernel": None},
        {"initrd": None},
        {"cmdline": "console=ttyS1"},
    ],
)
def test_digest_depends_on_each_fact(
    change: dict[str, object], kernel: LaunchFacts
) -> None:
    other = dataclasses.replace(kernel, **change)  # type: ignore[arg-type]
    assert measurement.launch_digest(other) != measurement.launch_digest(kernel)


@with_library
def test_digest_is_computed_again_when_a_file_changes(
    kernel: LaunchFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sevsnpmeasure import guest

    calls = []
    compute = guest.calc_launch_digest

    def count(*args: Any) -> bytes:
        calls.append(args)
        digest: bytes = compute(*args)
        return digest

    monkeypatch.setattr(guest, "calc_launch_digest", count)
    first = measurement.launch_digest(kernel)
    assert measurement.launch_digest(kernel) == first
    assert len(calls) == 1
    assert kernel.kernel is not None
    before = measurement.file_digest(kernel.kernel)
    # The same size: only the time of the change differs.
    Path(kernel.kernel).write_text("b vmlinuz\n")
    os.utime(kernel.kernel, ns=(time.time_ns(), time.time_ns() + 1))
    assert measurement.launch_digest(kernel) != first
    assert measurement.file_digest(kernel.kernel) != before
    assert len(calls) == 2


def directory(folder: Path) -> Path:
    return folder


def absent(folder: Path) -> Path:
    return folder / "absent"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def huge(folder: Path) -> Path:
    with open(folder / "huge", "wb") as file:
        file.truncate(measurement.MAX_BYTES + 1)
    return folder / "huge"


def zero_byte(folder: Path) -> Path:
    return folder / "a\0b"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (directory, "is not a regular file"),
        (absent, "cannot be read: No such file or directory"),
        (pipe, "is not a regular file"),
        (huge, "has 512 MiB, and more than 512 MiB are not read"),
        (zero_byte, "cannot be read: the name is not valid"),
    ],
)
def test_what_cannot_be_read_is_unknown(
    make: Callable[[Path], Path], reason: str, tmp_path: Path, kernel: LaunchFacts
) -> None:
    path = str(make(tmp_path))
    for part in ("firmware", "kernel", "initrd"):
        changed = dataclasses.replace(kernel, **{part: path})  # type: ignore[arg-type]
        with pytest.raises(DetectionError, match=reason):
            measurement.launch_digest(changed)
    with pytest.raises(DetectionError, match=reason):
        measurement.file_digest(path)


@with_library
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "OVMF.fd"),
        (b"\0" * 4096, "has no metadata for SEV-SNP"),
        (ovmf_file.ovmf(), "has no metadata for SEV-SNP"),
        (
            ovmf_file.debian(),
            "sev-snp-measure cannot measure .*OVMF.fd: Kernel specified",
        ),
        (
            ovmf_file.amdsev().replace(b"ASEV", b"VESA"),
            "cannot measure .*OVMF.fd: Wrong SEV metadata signature",
        ),
    ],
)
def test_a_firmware_that_cannot_be_measured(
    content: bytes, reason: str, kernel: LaunchFacts
) -> None:
    Path(kernel.firmware).write_bytes(content)
    with pytest.raises(DetectionError, match=reason):
        measurement.launch_digest(kernel)


def test_without_the_library_the_digest_is_unknown(
    facts: LaunchFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("", ".guest", ".ovmf", ".sev_mode", ".id_block"):
        monkeypatch.setitem(sys.modules, f"sevsnpmeasure{name}", None)
    with pytest.raises(DetectionError, match=r"^sev-snp-measure is not installed$"):
        measurement.launch_digest(facts)
    with pytest.raises(DetectionError, match=r"^sev-snp-measure is not installed$"):
        measurement.sign_id_block("00" * 48, 0x30000, "id.pem")
    # What needs no library is known.
    content = Path(facts.firmware).read_bytes()
    assert (
        measurement.file_digest(facts.firmware) == hashlib.sha256(content).hexdigest()
    )


def test_cmdline_digest_is_that_of_sha256sum() -> None:
    done = subprocess.run(
        ["sha256sum"], input="console=ttyS0", capture_output=True, text=True, check=True
    )
    assert measurement.cmdline_digest("console=ttyS0") == done.stdout.split()[0]


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes = b""
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


def new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(pem(key))
    return key


def verify(key: ec.EllipticCurvePrivateKey, signature: bytes, data: bytes) -> None:
    """Verify a signature as the secure processor does; R and S are little endian."""
    r, s = (int.from_bytes(signature[at : at + 72], "little") for at in (0, 72))
    der = utils.encode_dss_signature(r, s)
    key.public_key().verify(der, data, ec.ECDSA(hashes.SHA384()))


@with_library
def test_id_block_has_the_fields_of_the_abi(tmp_path: Path) -> None:
    """SEV-SNP firmware ABI, tables of ID_BLOCK and ID_AUTH."""
    paths = tmp_path / "id.pem", tmp_path / "author.pem"
    id_key, author_key = map(new_key, paths)
    digest = bytes(range(48)).hex()
    signed = measurement.sign_id_block(
        digest, 0xB0000, str(paths[0]), str(paths[1]), guest_svn=7
    )
    block, auth = signed.block, signed.auth
    assert (len(block), len(auth)) == (96, 4096)
    assert block[:48].hex() == digest
    assert block[48:80] == bytes(32)  # FAMILY_ID and IMAGE_ID
    numbers = [int.from_bytes(block[at : at + 4], "little") for at in (80, 84, 88, 92)]
    assert numbers == [1, 7, 0xB0000, 0]
    assert [auth[at] for at in (0, 4)] == [1, 1]
    verify(id_key, auth[0x40:0x240], block)
    verify(author_key, auth[0x680:0x880], auth[0x240:0x644])
    assert auth[0x240] == auth[0x880] == 2  # the curve P-384
    x = id_key.public_key().public_numbers().x
    assert int.from_bytes(auth[0x244:0x28C], "little") == x
    assert signed.id_key_digest == hashlib.sha384(auth[0x240:0x644]).hexdigest()
    assert signed.author_key_digest == hashlib.sha384(auth[0x880:0xC84]).hexdigest()


@with_library
def test_id_block_is_that_of_the_program_but_for_signatures(tmp_path: Path) -> None:
    """A signature has a random part. The program knows one policy."""
    paths = [str(tmp_path / "id.pem"), str(tmp_path / "author.pem")]
    for path in paths:
        new_key(Path(path))
    digest = base64.b64encode(bytes(range(48))).decode()
    command = [sys.executable, "-c", "import sys; from sevsnpmeasure import id_block; "]
    command[2] += "sys.exit(id_block.main())"
    command += ["--measurement", digest, "--idkey", paths[0], "--authorkey", paths[1]]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    signed = measurement.sign_id_block(bytes(range(48)).hex(), 0x30000, *paths)
    assert f"id-block={base64.b64encode(signed.block).decode()}," in said
    auth = base64.b64decode(said.partition("id-auth=")[2].splitlines()[0])
    for first, last in ((0, 0x40), (0x240, 0x680), (0x880, 0x1000)):
        assert auth[first:last] == signed.auth[first:last]


@with_library
def test_id_block_without_an_author_key(tmp_path: Path) -> None:
    new_key(tmp_path / "id.pem")
    signed = measurement.sign_id_block("00" * 48, 0x30000, str(tmp_path / "id.pem"))
    assert signed.author_key_digest is None
    assert signed.auth[4:8] == bytes(4)
    assert signed.auth[0x680:] == bytes(0x1000 - 0x680)


@with_library
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"not PEM", "has no private key on the curve P-384"),
        (
            pem(ec.generate_private_key(ec.SECP256R1())),
            "has no private key on the curve",
        ),
        (pem(rsa.generate_private_key(65537, 2048)), "has no private key on the curve"),
        (
            pem(ec.generate_private_key(ec.SECP384R1()), b"secret"),
            "is encrypted with a password: use a key without one",
        ),
    ],
    ids=["absent", "not PEM", "P-256", "RSA", "with a password"],
)
def test_keys_that_cannot_sign(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    new_key(tmp_path / "id.pem")
    with pytest.raises(DetectionError, match=reason):
        measurement.sign_id_block("00" * 48, 0x30000, str(path))
    with pytest.raises(DetectionError, match=reason):
        measurement.sign_id_block(
            "00" * 48, 0x30000, str(tmp_path / "id.pem"), str(path)
        )
