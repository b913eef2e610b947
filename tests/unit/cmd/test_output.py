# SPDX-License-Identifier: Apache-2.0

"""What all scripts share: their version, a missing module, a full disk."""

import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

from sev_driver.cmd import capabilities, doctor, link, output, owner

ROOT = pathlib.Path(__file__).parents[3]
SCRIPTS = {
    "sev-doctor": doctor.main,
    "sev-capabilities": capabilities.main,
    "sev-driver-link": link.main,
    "sev-owner": owner.main,
}

#: Runs a module while some others cannot be imported.
WITHOUT = """
import runpy, sys
missing, module, *arguments = sys.argv[1:]
sys.modules.update(dict.fromkeys(missing.split(",")))
sys.argv = [module, *arguments]
runpy.run_module(f"sev_driver.cmd.{module}", run_name="__main__", alter_sys=True)
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_version_of_each_script(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        SCRIPTS[name](["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{name} {output.version()}\n"


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ("doctor", "lxml"),
        ("doctor", "os_traits"),
        ("doctor", "oslo_config"),
        ("doctor cloud", "lxml"),
        ("capabilities", "lxml"),
        ("capabilities", "os_traits"),
    ],
)
def test_missing_module_is_one_line(script: str, module: str) -> None:
    ended = run("-c", WITHOUT, module, *script.split())
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert f"the Python module {module} is not installed for {sys.executable}" in line
    assert f"-m pip install {output.REQUIREMENTS}" in line


@pytest.mark.parametrize("script", ["doctor", "capabilities", "link", "owner"])
def test_version_needs_no_other_module(script: str) -> None:
    ended = run("-c", WITHOUT, "lxml,os_traits,oslo_config", script, "--version")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split()[1] == output.version()


def test_missing_openstacksdk_is_one_line() -> None:
    ended = run("-c", WITHOUT, "openstack", "doctor", "cloud")
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert "openstacksdk" in line


@pytest.mark.parametrize(
    "words",
    [
        "sev_driver.cmd.doctor plan --property hw:mem_encryption=true",
        "sev_driver.cmd.doctor plan --property hw:mem_encryption=true --json",
        "sev_driver.cmd.capabilities --domain-capabilities tests/data/domcaps.xml",
    ],
)
def test_full_disk_is_one_line(words: str, tmp_path: pathlib.Path) -> None:
    caps = tmp_path / "domcaps.xml"
    caps.write_text("<domainCapabilities/>")
    command = words.replace("tests/data/domcaps.xml", str(caps)).split()
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.endswith("the output cannot be written: No space left on device")


CHECK = "sev_driver.cmd.link --check"


def test_link_names_a_full_disk_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", *CHECK.split()],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 1
    assert ended.stderr.split("\n") == [
        "",
        "The output cannot be written: No space left on device.",
        "",
    ]


@pytest.mark.parametrize(
    "words", [CHECK, "sev_driver.cmd.doctor plan --property hw:mem_encryption=true"]
)
def test_reader_that_goes_away_is_no_error(words: str) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", *words.split()],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert ended.stderr == ""
    assert ended.returncode in (0, 1)


@pytest.mark.parametrize(
    "words", ["doctor plan --property hw:mem_encryption=true", "doctor plan --json"]
)
def test_closed_standard_output_is_one_line(words: str) -> None:
    module, *arguments = f"sev_driver.cmd.{words}".split()
    command = [sys.executable, "-m", module, *arguments, "--property", "a=b"]
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.endswith("the output cannot be written: standard output is closed")


@pytest.mark.parametrize(
    ("terminal", "no_color", "colour"),
    [("xterm", "", True), ("dumb", "", False), ("xterm", "1", False)],
)
def test_colours_are_for_terminals_that_have_them(
    terminal: str, no_color: str, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert output.shows_colour() is colour


def test_progress_is_for_a_person_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output.progress("sev-doctor", "reading")
    assert not capsys.readouterr().err
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    output.progress("sev-doctor", "reading")
    assert terminal.getvalue() == "sev-doctor: reading\n"


def test_report_says_who_judged_what_and_when(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "host.json.gz")
    doctor.main(["--connect", "test:///nowhere", "--save", file, "--json"])
    printed = capsys.readouterr()
    size = os.stat(file).st_size
    assert printed.err == f"sev-doctor: wrote {file} ({size} bytes)\n"
    here = json.loads(printed.out)
    assert here["version"] == output.version()
    assert here["host"] == os.uname().nodename
    doctor.main(["--from", file, "--json"])
    assert json.loads(capsys.readouterr().out) == here


@pytest.mark.parametrize(
    "words",
    ["--model amd-sev-snp", "--model sev-snp", "--model snp", "--generation sev-snp"],
)
def test_each_spelling_of_a_model(
    words: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_doctor import saved

    doctor.main([*words.split(), "--from", saved(tmp_path / "a.json.gz"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["generation"]) == ("amd-sev-snp", "amd-sev-snp")
    assert list(found["models"]) == ["amd-sev-snp"]


def test_closed_standard_error_does_not_spoil_the_json(tmp_path: pathlib.Path) -> None:
    """As in ``sev-doctor --json 2>&-``, where Python has no sys.stderr."""
    words = [sys.executable, "-m", "sev_driver.cmd.doctor", "--json"]
    words += ["--connect", "test:///nowhere", "--save", str(tmp_path / "a.json.gz")]
    shell = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *words]
    ended = subprocess.run(shell, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert ended.returncode in (0, 1)
    assert json.loads(ended.stdout)["version"] == output.version()
