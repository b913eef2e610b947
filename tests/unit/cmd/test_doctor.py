# SPDX-License-Identifier: Apache-2.0
"""sev-doctor on a host: what it prints, writes and returns."""

import gzip
import json
import os
import pathlib
import subprocess
import sys

import pytest
from test_gather import ANSWERS, NOVA_CONF

from sev_driver.cmd import doctor, output
from sev_driver.doctor.host import archive
from sev_driver.doctor.host.archive import Archive, Failure

ROOT = pathlib.Path(__file__).parents[3]

#: A host with SEV alone, of which no problem found; ANSWERS less its iommu=pt.
GOOD: dict[str, bytes | Failure] = {
    **ANSWERS,
    "folders/sys/module": b'["ccp", "kvm_amd"]',
    "asked/nova/files": b"[]",
    "files/proc/meminfo": b"MemTotal: 99999999 kB\nMemAvailable: 88888888 kB\n",
}


def saved(path: pathlib.Path, **changes: bytes) -> str:
    answers = {
        **GOOD,
        **{name.replace("__", "/"): each for name, each in changes.items()},
    }
    path.write_bytes(archive.pack(Archive("2026-01-01", "1.0", answers)))
    return str(path)


def test_exit_status_is_of_the_generation_asked_for(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "host.json.gz")
    assert doctor.main(["--from", file]) == 0
    shown = capsys.readouterr().out
    assert "AMD SEV: a guest would run, as far as could be checked; not" in shown
    assert "AMD SEV-SNP: no guest would run" in shown
    assert doctor.main(["--from", file, "--generation", "sev"]) == 0
    assert "SEV-SNP" not in capsys.readouterr().out
    assert doctor.main(["--from", file, "--generation", "sev-snp"]) == 1


def test_json_and_quiet(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(
        tmp_path / "host.json.gz", files__sys__module__kvm_amd__parameters__sev=b"N"
    )
    assert doctor.main(["--from", file, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["generations"]["amd-sev"] == {
        "would_run": False,
        "cause": "kernel.parameter",
        "not_looked_at": [],
    }
    assert doctor.main(["--from", file, "--quiet", "--generation", "sev"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL" in shown and "PASS" not in shown
    # Nothing of it is a terminal.
    assert "\033" not in shown


def test_a_save_is_read_alike_elsewhere(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf, file = tmp_path / "nova.conf", tmp_path / "host.json.gz"
    conf.write_text(NOVA_CONF)
    here = ["--nova-conf", str(conf), "--connect", "test:///nowhere", "--json"]
    status = doctor.main([*here, "--save", str(file)])
    told = capsys.readouterr().out
    conf.unlink()
    assert doctor.main(["--from", str(file), "--json"]) == status
    assert capsys.readouterr().out == told
    assert b"PASSWORD" not in gzip.decompress(file.read_bytes())
    # It is about a host, and of no concern to its other users.
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not what sev-doctor --save writes"),
        (b"\x1f\x8b" + bytes(40), "no gzip file"),
        (None, "No such file"),
    ],
)
def test_a_bad_archive_is_one_line_and_2(
    content: bytes | None,
    words: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "host.json.gz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        doctor.main(["--from", str(file)])
    assert ended.value.code == 2
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert f"{file} cannot be read: " in last and words in last


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--generation", "tdx"],
            "'tdx' is not one of amd-sev, amd-sev-es, amd-sev-snp",
        ),
        (["--save", "a", "--from", "b"], "--save"),
        (["--save", "/does/not/exist"], "cannot be written: No such file"),
        (["--nova-conf", "/does/not/exist"], "/does/not/exist cannot be read"),
        (["--from", "b", "--nova-conf", "c"], "--nova-conf"),
        (["nonsense"], "invalid choice"),
        (["--save", "/tmp/x", "cloud"], "--save does not apply to cloud"),
        (["--quiet", "plan"], "--quiet does not apply to plan"),
        (["--from", "b", "plan", "--property", "a=b"], "--from does not apply to plan"),
        (
            ["--generation", "sev", "plan", "--property", "a=b"],
            "--model does not apply",
        ),
        (["--nova-conf", "b", "cloud"], "--nova-conf does not apply to cloud"),
        (["--guest-memory", "1", "cloud"], "--guest-memory does not apply to cloud"),
        (["--connect", "b", "cloud"], "--connect does not apply to cloud"),
        (["--gen", "sev"], ""),
    ],
)
def test_misuse_is_told_and_ends_with_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        doctor.main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert not printed.out


WITHOUT = """
import sys
for name in ("nova", "libvirt", "oslo_log", "openstack"):
    sys.modules[name] = None
import runpy
runpy.run_module("sev_driver.cmd.doctor", run_name="__main__", alter_sys=True)
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        env={**os.environ, **environment},
    )


def test_it_needs_neither_nova_nor_libvirt(tmp_path: pathlib.Path) -> None:
    told = run("--from", saved(tmp_path / "host.json.gz"), "--json")
    assert told.returncode == 0, told.stderr
    here = run("--json")
    assert here.returncode in (0, 1), here.stderr
    findings = {each["id"]: each for each in json.loads(here.stdout)["findings"]}
    # On another vendor's processor, and in a virtual machine without SEV, libvirt is
    # not asked.
    seen = findings["libvirt.reach"]["seen"]
    first = ("processor.vendor", "processor.physical")
    is_over = any(findings[name]["verdict"] == "fail" for name in first)
    assert is_over or "libvirt-python cannot be imported" in seen


def test_a_file_that_was_there_is_not_written_over_in_place(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever may read the old one, or has it open, sees nothing of the new."""
    file = tmp_path / "host.json.gz"
    file.write_bytes(b"old")
    file.chmod(0o644)
    with file.open("rb") as old:
        doctor.main(["--connect", "test:///nowhere", "--save", str(file)])
        assert old.read() == b"old"
    assert file.stat().st_mode & 0o777 == 0o600
    assert doctor.main(["--from", str(file), "--quiet"]) in (0, 1)
    assert [each.name for each in tmp_path.iterdir()] == ["host.json.gz"]


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "host.json.gz"
    file.write_bytes(b"old")
    with pytest.raises(TypeError):
        output.write(str(file), "no bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["host.json.gz"]


def test_what_is_no_file_is_written_where_it_leads(tmp_path: pathlib.Path) -> None:
    """Else root would take away /dev/stdout."""
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    output.write(str(link), b"new")
    assert link.is_symlink() and file.read_bytes() == b"new"


def test_a_terminal_without_the_symbols_has_the_words(tmp_path: pathlib.Path) -> None:
    file = saved(tmp_path / "host.json.gz")
    told = run("--from", file, PYTHONIOENCODING="ascii")
    assert told.returncode == 0, told.stderr
    assert "? PASS  AMD processor" in told.stdout
    keys = ("--property", "hw:mem_encryption=true", "--property", "trait:\u265e=x")
    told = run("plan", *keys, "--verbose", PYTHONIOENCODING="ascii")
    assert told.returncode == 0, told.stderr
    assert "PASS" in told.stdout


@pytest.mark.parametrize("command", ["", "plan --property hw:mem_encryption=true"])
@pytest.mark.parametrize("form", ["", "--json"])
def test_a_reader_that_goes_away_is_no_trouble(
    command: str, form: str, tmp_path: pathlib.Path
) -> None:
    asked = command.split() or ["--from", saved(tmp_path / "host.json.gz")]
    asked += form.split()
    words = [sys.executable, "-m", "sev_driver.cmd.doctor", *asked]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert b"Traceback" not in told and b"BrokenPipe" not in told
