# SPDX-License-Identifier: Apache-2.0

"""The simulated secure processor: launches, and reports that another library reads."""

import base64
import hashlib
import json
import os
from pathlib import Path

import ovmf_file
import owners_keys
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from devcloud.simhost.layout import Layout
from devcloud.simhost.psp import guest, keys, report
from devcloud.simhost.sevsim import guest_firmware, launch, p384
from devcloud.simhost.sevsim.command_line import CommandLine

pytest.importorskip("sevsnpmeasure", reason="sev-snp-measure is not installed")

UUID = "6d3f1c2e-0000-4000-8000-000000000001"
NONCE = bytes(range(64))
POLICY = 0x30000
FAILED = "SNP_LAUNCH_FINISH ret=-5 fw_error="


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(ovmf_file.amdsev())
    return path


def command(firmware: Path, *more: str, cpu: str = "EPYC-v4", **security: object):
    """QEMU's command line, as libvirt writes it."""
    given = {"qom-type": "sev-snp-guest", "id": "lsec0", "policy": POLICY}
    given |= {k.replace("_", "-"): v for k, v in security.items()}
    argv = ["-name", "guest=instance-00000001,debug-threads=on", "-uuid", UUID, "-S"]
    argv += ["-accel", "kvm", "-cpu", f"{cpu},x2apic=on", "-smp", "2,sockets=2"]
    argv += ["-bios", str(firmware), "-object", json.dumps(given), *more]
    return CommandLine(argv)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def signed(digest: str, author: bool = False, **block: object) -> dict[str, object]:
    key = owners_keys.AUTHOR_KEY if author else None
    parts = owners_keys.sign(digest, author=key, **block)
    return dict(zip(("id_block", "id_auth"), map(text, parts), strict=True)) | {
        "author_key_enabled": author
    }


def digest(firmware: Path, *more: str, **arguments: object) -> str:
    return launch.finish(command(firmware, *more, **arguments))["measurement"]


def refusal(firmware: Path, **security: object) -> str:
    with pytest.raises(launch.Refused) as refused:
        launch.finish(command(firmware, **security))
    return str(refused.value)


def test_command_line_is_read(firmware: Path) -> None:
    read = command(firmware, "-kernel", "/k", "-initrd", "/i", "-append", "a=b, c")
    assert (read.vcpus, read.cpu, read.name) == (2, "EPYC-v4", "instance-00000001")
    assert (read.kernel, read.initrd, read.kernel_arguments) == ("/k", "/i", "a=b, c")
    assert (read.firmware, read.uuid) == (str(firmware), UUID)
    assert not read.kernel_hashes


def test_pflash_is_a_firmware_as_well() -> None:
    code = {"driver": "file", "filename": "/f", "node-name": "libvirt-pflash0-storage"}
    format_ = {"driver": "raw", "node-name": "libvirt-pflash0-format", "file": "x"}
    disk = {"driver": "file", "filename": "/d", "node-name": "libvirt-1-storage"}
    words = [
        w for node in (code, format_, disk) for w in ("-blockdev", json.dumps(node))
    ]
    read = CommandLine(words)
    assert read.firmware == "/f"
    assert read.rewritten == words


def test_digest_depends_on_what_is_measured_only(
    firmware: Path, tmp_path: Path
) -> None:
    found = {
        digest(firmware),
        digest(firmware, policy=0x20000, host_data=text(b"x" * 32)),
    }
    assert len(found) == 1
    assert digest(firmware, cpu="EPYC-v5") in found
    assert digest(firmware, cpu="EPYC-Milan-v2") not in found
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"kernel")
    more = ("-kernel", str(kernel), "-append", "quiet")
    assert digest(firmware, *more) in found
    measured = digest(firmware, *more, kernel_hashes=True)
    kernel.write_bytes(b"other")
    assert len({measured, digest(firmware, *more, kernel_hashes=True)} | found) == 3


def test_firmware_without_metadata_is_refused(firmware: Path) -> None:
    firmware.write_bytes(ovmf_file.ovmf())
    assert "Failed to locate SEV metadata header" in refusal(firmware)


@pytest.mark.parametrize("author", [False, True])
def test_id_block_that_fits_is_launched(firmware: Path, author: bool) -> None:
    block = signed(digest(firmware), author, svn=7)
    launched = launch.finish(command(firmware, **block))
    assert launched["guest_svn"] == 7
    assert launched["id_key_digest"] == owners_keys.digest(owners_keys.ID_KEY)
    wanted = owners_keys.digest(owners_keys.AUTHOR_KEY) if author else None
    assert launched.get("author_key_digest") == wanted


def test_id_block_that_does_not_fit_is_refused_in_the_order_of_the_abi(
    firmware: Path,
) -> None:
    right = digest(firmware)
    forged = text(bytes.fromhex("01").ljust(4096, b"\0"))
    other = signed("ab" * 48, policy=0x20000) | {"id_auth": forged}
    assert refusal(firmware, **other) == f"{FAILED}11 'Bad measurement'"
    other = signed(right, policy=0x20000) | {"id_auth": forged}
    assert refusal(firmware, **other) == f"{FAILED}7 'Policy is not allowed'"
    other = signed(right) | {"id_auth": forged}
    assert refusal(firmware, **other) == f"{FAILED}10 'Bad signature'"
    assert refusal(firmware, **signed(right, version=2)).startswith(f"{FAILED}22 ")


def test_forged_author_is_refused(firmware: Path) -> None:
    block = signed(digest(firmware), author=True)
    auth = bytearray(base64.b64decode(str(block["id_auth"])))
    auth[0x680] ^= 1  # in ID_KEY_SIG
    block["id_auth"] = text(bytes(auth))
    assert refusal(firmware, **block) == f"{FAILED}10 'Bad signature'"
    # Only an author that the report will name is looked at.
    block["author_key_enabled"] = False
    assert "author_key_digest" not in launch.finish(command(firmware, **block))


def test_unknown_cpu_is_said(firmware: Path) -> None:
    with pytest.raises(launch.Refused, match="unknown CPU model Skylake"):
        launch.finish(command(firmware, cpu="Skylake"))


@pytest.mark.parametrize("byte", [0, 3])
def test_key_of_another_curve_is_refused(firmware: Path, byte: int) -> None:
    block = signed(digest(firmware))
    auth = bytearray(base64.b64decode(str(block["id_auth"])))
    auth[0x240 + byte] ^= 1
    block["id_auth"] = text(bytes(auth))
    assert refusal(firmware, **block) == f"{FAILED}10 'Bad signature'"


def test_block_and_signatures_go_together(firmware: Path) -> None:
    block = signed(digest(firmware))
    without = {k: v for k, v in block.items() if k != "id_auth"}
    assert refusal(firmware, **without) == "SNP_LAUNCH_FINISH ret=-22 fw_error=0 ''"
    del block["id_block"]
    assert "id_key_digest" not in launch.finish(command(firmware, **block))


def test_signatures_are_those_of_a_library() -> None:
    key = ec.derive_private_key(12345, ec.SECP384R1())
    point = key.public_key().public_numbers()
    for number in range(5):
        data = bytes([number])
        signature = utils.decode_dss_signature(key.sign(data, ec.ECDSA(SHA384())))
        assert p384.is_signature(data, (point.x, point.y), signature)
        assert not p384.is_signature(b"other", (point.x, point.y), signature)
        assert not p384.is_signature(data, (point.x, point.y + 1), signature)
        assert not p384.is_signature(data, (point.x, point.y), signature[::-1])
    assert not p384.is_signature(b"", (point.x, point.y), (0, 0))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (ovmf_file.amdsev(), ""),
        (ovmf_file.debian(), "hashes table area is invalid (base=0x0 size=0x0)"),
        (ovmf_file.ovmf(hashes_at=None), "guest firmware has no hashes table GUID"),
        (b"", "guest firmware has no hashes table GUID"),
        (
            bytes(64) + ovmf_file.table(b"\0" * 9) + bytes(32),
            "has no hashes table GUID",
        ),
    ],
    ids=["amdsev", "debian", "no-entry", "empty", "malformed"],
)
def test_place_for_hashes_is_found_as_qemu_finds_it(data: bytes, said: str) -> None:
    found = guest_firmware.hashes_obstacle(data)
    assert found.endswith(said)
    assert bool(found) == bool(said)


def test_record_is_read_while_its_guest_holds_it(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert launch.read_record(folder, UUID) is None
    first = launch.open_record(folder, UUID)
    assert os.get_inheritable(first)
    assert launch.read_record(folder, UUID) is None, "it is not measured yet"
    launch.write_record(folder, UUID, {"policy": 1})
    assert launch.read_record(folder, UUID) == {"policy": 1}
    os.close(first)
    assert launch.read_record(folder, UUID) is None
    # It starts again.
    second = launch.open_record(folder, UUID)
    launch.write_record(folder, UUID, {"policy": 2})
    assert launch.read_record(folder, UUID) == {"policy": 2}
    os.close(second)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return Layout(tmp_path_factory.mktemp("host"))


def test_report_of_a_guest(host: Layout, firmware: Path) -> None:
    omne = pytest.importorskip("omne_attest", reason="omne-attest is not installed")
    assert guest.evidence(host, UUID, NONCE) is None
    block = signed(digest(firmware), author=True, svn=3)
    data = hashlib.sha256(b"user data").digest()
    lock = launch.open_record(str(host.launches), UUID)
    launched = launch.finish(command(firmware, host_data=text(data), **block))
    launch.write_record(str(host.launches), UUID, launched)

    found = guest.evidence(host, UUID, NONCE)
    os.close(lock)

    assert found is not None
    der = [
        certificate.public_bytes(Encoding.DER)
        for pem in (found.vcek, found.cert_chain)
        for certificate in x509.load_pem_x509_certificates(pem)
    ]
    root = hashlib.sha256(der[-1]).digest()
    read = omne.verify(
        found.report[: report.REPORT_BYTES],
        *der,
        root,
        omne.Policy(bytes.fromhex(launched["measurement"]), NONCE),
    )
    assert (read.version, read.vmpl, read.guest_svn, read.policy) == (2, 0, 3, POLICY)
    assert read.host_data == data
    assert read.id_key_digest.hex() == launched["id_key_digest"]
    assert read.author_key_digest.hex() == launched["author_key_digest"]
    assert read.report_id.hex() == launched["report_id"]
    assert read.chip_id.startswith(b"SIMULATED")
    for certificate in der:
        assert certificate in found.report[report.REPORT_BYTES :]


def test_keys_are_made_once_and_say_that_they_are_simulated(host: Layout) -> None:
    made = keys.load_or_make(host.secure_processor)
    again = keys.load_or_make(host.secure_processor)
    assert again.vcek == made.vcek
    assert host.secure_processor.stat().st_mode & 0o77 == 0
    for certificate in (made.vcek, made.ask, made.ark):
        assert keys.SIMULATED in certificate.subject.rfc4514_string()
