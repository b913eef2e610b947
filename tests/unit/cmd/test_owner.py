# SPDX-License-Identifier: Apache-2.0
"""sev-owner: what it prints, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import sys
import zlib
from pathlib import Path

import ovmf_file
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sev_driver import measurement
from sev_driver.cmd import owner
from sev_driver.doctor.cloud import api
from sev_driver.measurement import LaunchFacts

pytestmark = pytest.mark.skipif(
    not measurement.is_available(), reason=measurement.NOT_INSTALLED
)
DIGEST = bytes(range(48)).hex()
USER_DATA = b"init.yaml\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OVMF.fd").write_bytes(ovmf_file.amdsev())
    for name in ("vmlinuz", "initrd", "init.yaml"):
        (tmp_path / name).write_text(f"{name}\n")
    for name in ("id.pem", "author.pem"):
        key = ec.generate_private_key(ec.SECP384R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (tmp_path / name).write_bytes(key)
    return tmp_path


LAUNCH = "--firmware OVMF.fd --vcpus 2 --cpu EPYC-Milan"
KERNEL = f"{LAUNCH} --kernel vmlinuz --initrd initrd --cmdline 'quiet console=ttyS0'"


def run(text: str) -> int:
    return owner.main(shlex.split(text))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_expect(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    facts = LaunchFacts("OVMF.fd", 2, 0xA00F11)
    plain = measurement.launch_digest(facts)
    assert run(f"expect {LAUNCH} -f value") == 0
    assert capsys.readouterr().out == f"{plain}\n"
    assert run(f"expect {KERNEL} -f json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("digest") not in (plain, "")
    assert said == {
        "firmware": sha256((files / "OVMF.fd").read_bytes()),
        "vcpus": "2",
        "cpu": "EPYC-Milan 0xa00f11",
        "features": "0x1",
        "kernel": sha256(b"vmlinuz\n"),
        "initrd": sha256(b"initrd\n"),
        "cmdline": sha256(b"quiet console=ttyS0"),
    }
    assert run(f"expect {LAUNCH}") == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["digest", plain]
    assert table[-1].split() == ["cmdline", "none"]


def test_a_signature_stands_for_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for cpu in ("EPYC-Milan-v2", "0xA00F11"):
        by = LAUNCH.replace("EPYC-Milan", cpu)
        assert run(f"expect {by} -f value") == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_inputs_are_words_for_openstack(capsys: pytest.CaptureFixture[str]) -> None:
    keys = "--id-key id.pem --author-key author.pem"
    assert run(f"inputs --user-data init.yaml --digest {DIGEST} {keys}") == 0
    out, err = capsys.readouterr()
    words = shlex.split(out)
    assert words[::2] == ["--property"] * (len(words) // 2)
    properties = dict(word.split("=", 1) for word in words[1::2])
    assert all(len(value) <= 255 for value in properties.values())
    pieces = [k for k in properties if k.startswith("sev:id_auth_")]
    assert pieces == [f"sev:id_auth_{n}" for n in range(len(pieces))]
    auth = base64.b64decode("".join(properties[piece] for piece in pieces))
    assert len(zlib.decompress(auth)) == 4096
    block = base64.b64decode(properties["sev:id_block"])
    assert block[:48].hex() == DIGEST
    assert int.from_bytes(block[88:], "little") == 0x30000
    assert properties["sev:policy"] == "0x00030000"
    assert properties["sev:host_data"] == "user_data"
    assert f"the report must have host_data {sha256(USER_DATA)}" in err
    assert f"the report must have measurement {DIGEST}" in err
    assert "the report must have author_key_digest " in err


def test_inputs_for_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    host_data = base64.b64encode(bytes(range(32))).decode()
    command = f"inputs --image --host-data {host_data} --policy SMT|DEBUG -f json"
    assert run(command.replace("|", "\\|")) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["properties"] == {
        "sev_host_data": bytes(range(32)).hex(),
        "sev_policy": "0x000b0000",
    }
    assert said["report"] == {
        "host_data": bytes(range(32)).hex(),
        "policy": "0x000b0000",
    }


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inputs", "name --host-data, --user-data, --policy or --digest"),
        (f"inputs --digest {DIGEST}", "--digest needs an --id-key"),
        ("inputs --id-key id.pem", "an ID block needs the --digest that it is for"),
        (f"inputs --digest {DIGEST[2:]}", "which has 96 hexadecimal digits"),
        (f"inputs --digest {DIGEST} --id-key init.yaml", "no private key on the curve"),
        ("inputs --host-data 00", "neither 64 hexadecimal digits nor 32 bytes in"),
        (f"inputs --host-data {'0' * 62}", "neither 64 hexadecimal digits nor"),
        (f"inputs --host-data {0:064} --user-data y", "not allowed with argument"),
        ("inputs --user-data absent", "absent cannot be read: No such file"),
        ("inputs --user-data long", "too long for user data"),
        ("inputs --policy 0x10000", "which must be set"),
        ("inputs --policy NODBG", "'NODBG' is not a bit of a SEV-SNP policy"),
        ("inputs --guest-svn=-1", "'-1' is not a number from 0 to"),
        (f"expect {LAUNCH} --cmdline x", "are measured with a --kernel only"),
        (f"expect {LAUNCH} --vcpus 0", "'0' is not a number from 1 to 4096"),
        (f"expect {LAUNCH} --cpu EPYC-Zen9", "EPYC-Zen9: give the signature, such as"),
        ("expect --firmware OVMF.fd", "required: --vcpus, --cpu"),
        (f"expect {LAUNCH} --firmware init.yaml", "init.yaml"),
        (f"expect {LAUNCH} --kernel absent", "absent cannot be read"),
        ("show x --firmware OVMF.fd", "all of --firmware, --vcpus and --cpu"),
        ("", "required: COMMAND"),
    ],
)
def test_misuse(
    command: str, words: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "long").write_bytes(bytes(50_000))
    try:
        status = run(command)
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert words in " ".join(err.split())


def test_longest_user_data(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "long").write_bytes(bytes(49_149))
    assert run("inputs --user-data long") == 0
    capsys.readouterr()


def test_missing_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("", ".guest", ".ovmf", ".sev_mode"):
        monkeypatch.setitem(sys.modules, f"sevsnpmeasure{name}", None)
    with pytest.raises(SystemExit) as end:
        run(f"expect {LAUNCH} --vcpus 77")
    assert end.value.code == 2
    assert "-m pip install sev-snp-measure cryptography" in capsys.readouterr().err


class Session:
    """A cloud with one server."""

    metadata: dict[str, str]

    def __init__(self, cloud: str | None, program: str) -> None:
        assert (cloud, program) == ("mine", "sev-owner")

    def server_metadata(self, server: str) -> dict[str, str]:
        if server != "db":
            raise api.Unreachable(f"server {server} cannot be read: no such server")
        return self.metadata


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    monkeypatch.setattr(api, "CloudSession", Session)
    Session.metadata = {
        "sev:launched_digest": measurement.launch_digest(
            LaunchFacts("OVMF.fd", 2, 0xA00F11)
        ),
        "sev:launched_firmware": measurement.file_digest("OVMF.fd"),
        "sev:launched_firmware_path": "/usr/share/ovmf/OVMF.fd",
        "sev:launched_vcpus": "2",
        "sev:launched_cpu": "EPYC-Milan-v2 0xa00f11",
        "sev:launched_features": "0x1",
        "sev:launched_policy": "0x00030000",
        "sev:launched_kernel": "none",
        "sev:launched_initrd": "none",
        "sev:launched_cmdline": "none",
        "sev:launched_by": "QEMU 10.0.13 libvirt 11.3.0",
    }
    return Session


SHOW = "show --os-cloud mine db"


def verdicts(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    lines = capsys.readouterr().out.splitlines()
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}


def test_show_all_is_yours(
    session: type[Session], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{SHOW} {LAUNCH} --policy SMT -f value") == 0
    found = verdicts(capsys)
    assert found.pop("firmware_path") == found.pop("by") == "the host's word"
    assert set(found.values()) == {"yours"}
    assert len(found) == 9


def test_show_without_files_is_the_hosts_word(
    session: type[Session], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{SHOW} -f value") == 0
    assert set(verdicts(capsys).values()) == {"the host's word"}


def test_show_what_differs(
    session: type[Session], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{SHOW} {LAUNCH} --vcpus 4 -f json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["vcpus"] == {"host": "2", "own": "4", "verdict": "differs"}
    assert said["digest"]["verdict"] == "differs"
    assert said["firmware"]["verdict"] == "yours"
    assert run(f"{SHOW} {LAUNCH} --vcpus 4") == 1
    out = capsys.readouterr().out
    assert "your files give" in out and "None of this is proof" in out


def test_show_unknown_and_not_said(
    session: type[Session], capsys: pytest.CaptureFixture[str]
) -> None:
    session.metadata["sev:launched_digest"] = (
        "unknown: sev-snp-measure is not installed"
    )
    assert run(f"{SHOW} {LAUNCH} -f value") == 0
    assert verdicts(capsys)["digest"] == "unknown to the host"
    del session.metadata["sev:launched_digest"]
    assert run(f"{SHOW} {LAUNCH} -f value") == 1
    assert verdicts(capsys)["digest"] == "not said"


def test_show_no_such_server(
    session: type[Session], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run("show --os-cloud mine web")
    assert end.value.code == 2
    assert "sev-owner show: server web cannot be read" in capsys.readouterr().err
