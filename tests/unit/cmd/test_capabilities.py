# SPDX-License-Identifier: Apache-2.0
"""sev-capabilities: a table of hosts, and what is said of arguments and files."""

import csv
import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import tomllib
from typing import Any

import pytest

from sev_driver.cmd import capabilities

ROOT = pathlib.Path(__file__).parents[3]
DATA = ROOT / "tests/data"
TABLE = ROOT / "doc/source/admin/host_table.csv"
HOSTS = sorted((DATA / "hosts").glob("*.toml"), key=lambda path: path.stem)
MODELS = ("amd-sev", "amd-sev-es", "amd-sev-snp")


def load(path: pathlib.Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def arguments(host: dict[str, Any], folder: pathlib.Path) -> list[str]:
    """Write the host's files into ``folder``; return what names them."""
    result: list[str] = [*host["arguments"]]
    for name in ("domain_capabilities", "cpuid", "misc_capacity"):
        if name in host:
            (folder / name).write_text(host[name])
            result += ["--" + name.replace("_", "-"), str(folder / name)]
    for name in host.get("firmware", ()):
        result += ["--firmware-descriptors", str(DATA / "firmware" / name)]
    return result


@pytest.fixture
def ask(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what the program prints of a host, as data."""

    def ask(host: dict[str, Any], *more: str) -> Any:
        assert capabilities.main([*arguments(host, tmp_path), *more]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.mark.parametrize("path", HOSTS, ids=lambda path: path.stem)
def test_what_is_concluded_of_a_host(path: pathlib.Path, ask: Any) -> None:
    host = load(path)
    expected, found = host["concludes"], ask(host)
    assert found["shared_slots"] == expected.get("shared_slots")
    assert list(found["models"]) == list(MODELS)
    for model in MODELS:
        verdict, wanted = found["models"][model], expected[model]
        assert verdict["supported"] == wanted["supported"], verdict
        assert verdict["obstacle"] == wanted.get("obstacle"), verdict
        assert verdict["slots"] == wanted.get("slots"), verdict
        if wanted["supported"] == "yes":
            assert wanted["source"] in verdict["source"]
            assert verdict["reason"] is verdict["remedy"] is None
        else:
            assert verdict["reason"] and verdict["remedy"]
            assert verdict["source"] is None


def test_there_are_hosts_enough_and_each_says_where_it_is_from() -> None:
    assert len(HOSTS) >= 20
    for path in HOSTS:
        host = load(path)
        assert host["about"] and host["origin"], path.name
        for name in host.get("firmware", ()):
            assert list((DATA / "firmware" / name).iterdir())


def test_the_manual_has_the_table(ask: Any) -> None:
    """``REGENERATE_GOLDENS=1`` writes it anew."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Host", "SEV", "SEV-ES", "SEV-SNP"])
    for path in HOSTS:
        host = load(path)
        verdicts = ask(host)["models"]
        writer.writerow([host["about"], *(_cell(verdicts[m]) for m in MODELS)])
    if os.environ.get("REGENERATE_GOLDENS"):
        TABLE.write_text(text.getvalue())
    assert TABLE.read_text() == text.getvalue()


def _cell(verdict: dict[str, Any]) -> str:
    if verdict["supported"] == "yes":
        slots = verdict["slots"]
        many = "no number of" if slots is None else slots
        return f"{many} slot{'' if slots == 1 else 's'}"
    label = f":ref:`{verdict['obstacle']} <message-{verdict['obstacle']}>`"
    return label if verdict["supported"] == "no" else f"unknown: {label}"


NAPLES = load(DATA / "hosts/naples-ubuntu-22.04.toml")


def test_a_saved_record_of_cpuid_and_the_standard_input(
    tmp_path: pathlib.Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "leaf"
    record.write_bytes(struct.pack("<4I", 0x1A, 0, 12, 1))
    assert ask(NAPLES, "--cpuid", str(record))["models"]["amd-sev"]["slots"] == 12
    data = io.BytesIO(NAPLES["domain_capabilities"].encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data))
    piped = {**NAPLES, "arguments": NAPLES["arguments"]}
    del piped["domain_capabilities"]
    found = ask(piped, "--domain-capabilities", "-")
    assert found["models"]["amd-sev"]["slots"] == 15


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--cpuid", "/dev/null"], "neither the 16 bytes"),
        (["--misc-capacity", __file__], "not a key and a number"),
        (["--misc-capacity", "/does/not/exist"], "/does/not/exist cannot be read: No"),
        (["--cpuid", "/proc"], "/proc cannot be read: Is a directory"),
        (["--firmware-descriptors", "/does/not/exist"], "/does/not/exist cannot be"),
        (["--kvm-parameter", "sev"], "'sev' is not NAME=VALUE"),
        (["--kvm-parameter", "npt=Y"], "'npt=Y' is not NAME=VALUE"),
        (["--ciphertext-hiding", "max"], "'max' is no number"),
        (["--vm-types", "-1"], "'-1' is no number"),
        (["--qemu-version", "new"], "'new' is no version"),
        (["--dev-sev", "perhaps"], "invalid choice: 'perhaps'"),
        (["--domain-capabilities", "/does/not/exist"], "/does/not/exist cannot"),
    ],
)
def test_misuse_is_told_and_ends_with_2(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    wrong: list[str],
    words: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        capabilities.main([*arguments(NAPLES, tmp_path), *wrong])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert not printed.out


def test_domain_capabilities_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        capabilities.main([])
    assert ended.value.code == 2
    assert "--domain-capabilities" in capsys.readouterr().err


WITHOUT = """
import sys
for name in ("nova", "libvirt", "oslo_config", "oslo_log"):
    sys.modules[name] = None
import runpy
runpy.run_module("sev_driver.cmd.capabilities", run_name="__main__", alter_sys=True)
"""


def test_it_needs_neither_nova_nor_libvirt(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-c", WITHOUT, *arguments(NAPLES, tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["models"]["amd-sev"]["slots"] == 15
