# SPDX-License-Identifier: Apache-2.0

"""etc/bash_completion.d: up to date, and what bash offers with it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from installations import ROOT

FOLDER = ROOT / "etc" / "bash_completion.d"
PROGRAMS = ("sev-capabilities", "sev-doctor", "sev-driver-link", "sev-owner")
# What bash does at the tabulator, without a terminal.
COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"_shtab_${1//-/_}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(folder: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of ``words``."""
    command = ["bash", "-c", COMPLETE, "bash", FOLDER / words[0], *words]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_files_are_up_to_date() -> None:
    code = "import completion, json, sys; json.dump(completion.files(), sys.stdout)"
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT / "tools",
        capture_output=True,
        text=True,
        check=True,
    )
    kept = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert json.loads(made.stdout) == kept, "run `make completion`"
    assert sorted(kept) == sorted(PROGRAMS)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("sev-driver-link --", ["--help", "--version", "--check", "--remove"]),
        ("sev-doctor --gu", ["--guest-memory"]),
        ("sev-doctor --model amd-sev-", ["amd-sev-es", "amd-sev-snp"]),
        ("sev-doctor --from sav", ["saved.json.gz"]),
        ("sev-doctor pl", ["plan"]),
        ("sev-doctor plan --fl", ["--flavor"]),
        ("sev-doctor cloud --nova-release 3", ["30", "31", "32", "33", "34"]),
        ("sev-capabilities --dev-sev ", ["yes", "no", "unknown"]),
        ("sev-capabilities --firmware-descriptors des", ["descriptors"]),
        ("sev-capabilities --cpuid sa", ["saved.json.gz"]),
        ("sev-owner ex", ["expect"]),
        ("sev-owner expect --firmware sa", ["saved.json.gz"]),
        ("sev-owner inputs --gu", ["--guest-svn"]),
        ("sev-owner show --format ", ["table", "value", "json"]),
    ],
)
def test_bash_offers(typed: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "saved.json.gz").touch()
    (tmp_path / "descriptors").mkdir()
    assert offered(tmp_path, *typed.split(" ")) == expected


def test_wheel_installs_them_where_bash_completion_looks(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for program in PROGRAMS:
        end = f".data/data/share/bash-completion/completions/{program}"
        assert [name for name in names if name.endswith(end)]
