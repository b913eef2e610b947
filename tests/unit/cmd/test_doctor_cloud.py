# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sev_driver.cmd import doctor

PLAN = ["plan", "--property", "hw:mem_encryption=true"]
UEFI = ["--image-property", "hw_firmware_type=uefi"]


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever clouds the user of the tests knows."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("OS_CLOUD", "OS_CLIENT_CONFIG_FILE", "OS_AUTH_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ([*PLAN, *UEFI], 0, "Nothing in flavor and image keeps it from booting"),
        (PLAN, 0, "no image was named"),
        ([*PLAN, "--image-property", "hw_firmware_type=bios"], 1, "It would not boot"),
        (["plan", "--property", "a=b"], 1, "It would not boot encrypted"),
        (
            [*PLAN, "--property", "hw:mem_encryption_model=intel-tdx"],
            1,
            "It was not checked, because it does not ask for AMD SEV.",
        ),
        (
            [*PLAN, "--property", "sev:model=amd-sev-es", "--nova-release", "32"],
            1,
            "make the two agree",
        ),
        ([*PLAN, "--property", "sev:model=amd-sev-es", "--nova-release", "31"], 0, ""),
    ],
)
def test_a_plan_without_a_cloud(
    arguments: list[str], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main(arguments) == status
    out, err = capsys.readouterr()
    assert told in out and not err


SNP = [*PLAN, "--property", "hw:mem_encryption_model=amd-sev-snp"]


def test_launch_inputs_of_a_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = [*SNP, "--server-property", "sev:host_data=user_data"]
    assert doctor.main(given) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "user_data, but the server has no user data" in told
    file = tmp_path / "init.yaml"
    file.write_text("#cloud-config\n")
    assert doctor.main([*given, "--user-data", str(file)]) == 0
    assert "host_data of the server" in capsys.readouterr().out
    file.write_bytes(bytes(49149))
    assert doctor.main([*given, "--user-data", str(file)]) == 0
    capsys.readouterr()
    file.write_bytes(bytes(49150))
    assert doctor.main([*given, "--user-data", str(file)]) == 2
    assert "Nova takes 65535 characters of base64" in capsys.readouterr().err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([*PLAN, *UEFI, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["generation"] == "amd-sev"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan"], "name a --flavor, or give keys by --property"),
        (["plan", "--image", "x"], "name both"),
        (["plan", "--property", "x"], "'x' is not KEY=VALUE"),
        (["plan", "--property", "=x"], "'=x' is not KEY=VALUE"),
        ([*PLAN, "--server-property", "x"], "'x' is not KEY=VALUE"),
        ([*PLAN, "--user-data", "/absent"], "/absent cannot be read: No such file"),
    ],
)
def test_misuse(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main(arguments) == 2
    out, err = capsys.readouterr()
    assert told in err and not out


def test_upgrade_check_without_a_cloud_has_the_status_of_nova_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["cloud", "--upgrade-check", "--os-cloud", "nowhere"]
    assert doctor.main(command) == 255
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("command", [["cloud"], ["plan", "--flavor", "m1.sev"]])
class TestNoCloud:
    def refused(self, command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
        assert doctor.main(command) == 2
        out, err = capsys.readouterr()
        assert not out and len(err.splitlines()) == 1, err
        return err

    def test_without_the_library(
        self,
        command: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setitem(sys.modules, "openstack", None)
        told = self.refused(command, capsys)
        assert told.endswith("not installed here: pip install openstacksdk.\n")

    def test_without_credentials(
        self, command: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("openstack")
        assert "--os-cloud" in self.refused(command, capsys)

    def test_of_an_unknown_name(
        self, command: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("openstack")
        told = self.refused([*command, "--os-cloud", "nowhere"], capsys)
        assert "nowhere was not found" in told

    def test_that_does_not_answer(
        self,
        command: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        pytest.importorskip("openstack")
        # Nobody listens on the port of discard.
        for name, value in {
            "AUTH_URL": "http://127.0.0.1:9/v3",
            "USERNAME": "u",
            "PASSWORD": "p",
            "PROJECT_NAME": "p",
            "USER_DOMAIN_ID": "default",
            "PROJECT_DOMAIN_ID": "default",
        }.items():
            monkeypatch.setenv(f"OS_{name}", value)
        refused = self.refused(command, capsys)
        assert "127.0.0.1:9/v3" in refused
        assert ": Connection refused: name one of clouds.yaml" in refused

    def test_that_does_not_answer_is_said_once(self, command: list[str]) -> None:
        # pytest catches the log, which a person sees.
        address = {"OS_AUTH_URL": "http://127.0.0.1:9/v3", "OS_PROJECT_NAME": "p"}
        user = {"OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_USER_DOMAIN_ID": "default"}
        run = subprocess.run(
            [sys.executable, "-m", "sev_driver.cmd.doctor", *command],
            env={**os.environ, **address, **user, "OS_PROJECT_DOMAIN_ID": "default"},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 2 and not run.stdout
        assert len(run.stderr.splitlines()) == 1, run.stderr
