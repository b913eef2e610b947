# SPDX-License-Identifier: Apache-2.0

"""tools/: what the set-up does to the system, and what it says."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from installations import ROOT


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


@pytest.fixture
def apt(tools: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """tools/apt_install.py, with its files in a folder of the test's own."""
    path = ROOT / "tools" / "apt_install.py"
    spec = importlib.util.spec_from_file_location("apt_install", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "POLICY", tmp_path / "policy-rc.d")
    return module


def test_services_are_denied_only_while_apt_runs(apt: ModuleType) -> None:
    with apt.services_kept_off():
        assert os.access(apt.POLICY, os.X_OK)
        assert subprocess.run([apt.POLICY, "libvirtd", "start"]).returncode == 101
    assert not apt.POLICY.exists()


def test_a_failing_apt_leaves_no_policy_behind(apt: ModuleType) -> None:
    with pytest.raises(RuntimeError), apt.services_kept_off():
        raise RuntimeError
    assert not apt.POLICY.exists()


def test_the_administrators_own_policy_stays(apt: ModuleType) -> None:
    apt.POLICY.write_text("#!/bin/sh\nexit 0\n")
    with apt.services_kept_off():
        assert apt.POLICY.read_text() == "#!/bin/sh\nexit 0\n"
    assert apt.POLICY.exists()


def test_the_policy_of_a_killed_run_goes(apt: ModuleType) -> None:
    apt.POLICY.write_text(f"#!/bin/sh\n{apt.MARK}\nexit 101\n")
    with apt.services_kept_off():
        pass
    assert not apt.POLICY.exists()


def test_installed_packages_are_not_missing(apt: ModuleType) -> None:
    assert apt.missing(["dpkg", "no-such-package"]) == ["no-such-package"]


def test_progress_prints_names_as_they_come(
    tools: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import progress

    log = tmp_path / "log"
    code = "print('Collecting nova>=1'); print('noise'); print('Collecting lxml')"
    progress.run([sys.executable, "-c", code], log, r"Collecting (\w+)")
    assert capsys.readouterr().out == "    nova lxml\n"
    assert "noise" in log.read_text()


def test_progress_shows_the_end_of_a_failure(
    tools: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import progress

    command = [sys.executable, "-c", "raise SystemExit('no room left')"]
    with pytest.raises(subprocess.CalledProcessError):
        progress.run(command, tmp_path / "log", r"Collecting (\w+)")
    assert "no room left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["http://m/debian/ bookworm main"], "http://m/debian/"),
        (["http://m/debian/ stable main"], "http://m/debian/"),
        (
            [
                "http://m/debian-security/ bookworm-security main",
                "http://m/debian/ bookworm contrib",
                "http://m/tool/ bookworm-tool main",
                "copy:/srv/debian/ bookworm main",
            ],
            "copy:/srv/debian/",
        ),
        (["http://m/ubuntu/ noble main"], None),
        ([], None),
    ],
)
def test_another_debian_comes_from_where_this_one_does(
    tools: None, targets: list[str], expected: str | None
) -> None:
    import rootfs

    assert rootfs.debian_of(targets, "bookworm") == expected


def test_a_mirror_that_is_named_is_taken(
    tools: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rootfs

    assert rootfs.mirror({"ID": "arch"}) is None
    monkeypatch.setenv(rootfs.MIRROR, "http://m/")
    assert rootfs.mirror({"ID": "arch"}) == "http://m/"


def test_what_was_not_unpacked_is_asked_for_again_with_a_mirror(
    tools: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import rootfs

    monkeypatch.delenv(rootfs.MIRROR, raising=False)
    monkeypatch.setattr(rootfs, "ROOT", tmp_path)
    monkeypatch.setattr(rootfs, "FOLDER", tmp_path / "rootfs")
    monkeypatch.setattr(rootfs.platform, "freedesktop_os_release", dict)
    monkeypatch.setattr(sys, "argv", ["rootfs.py", "trixie"])
    assert rootfs.main() == 0
    ready = tmp_path / "rootfs/trixie/ready"
    (tmp_path / "ready").touch()

    def asked(*arguments: str) -> bool:
        make = ["make", "-n", f"VENV={tmp_path}", "setup-trixie", *arguments]
        run = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True)
        return "rootfs.py" in run.stdout

    assert "no Debian mirror" in ready.read_text()
    assert not asked()
    assert asked(f"{rootfs.MIRROR}=http://m/")
    ready.write_text("")  # unpacked, or this machine's own
    assert not asked(f"{rootfs.MIRROR}=http://m/")


def test_a_linux_guest_that_cannot_be_made_is_asked_for_again_with_a_mirror(
    tools: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import linux_guest
    import rootfs

    from devcloud import linux_guest as guest

    monkeypatch.delenv(rootfs.MIRROR, raising=False)
    monkeypatch.setattr(guest, "FOLDER", tmp_path / "linux-guest")
    monkeypatch.setattr(guest, "DISK", tmp_path / "linux-guest/disk.qcow2")
    monkeypatch.setattr(guest, "REASON", tmp_path / "linux-guest/ready")
    monkeypatch.setattr(linux_guest.platform, "freedesktop_os_release", dict)
    assert linux_guest.main() == 0
    (tmp_path / "ready").touch()

    def asked(*arguments: str) -> bool:
        make = ["make", "-n", f"VENV={tmp_path}", "setup-linux", *arguments]
        run = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True)
        return "linux_guest.py" in run.stdout

    assert guest.disk() is None
    assert "no Debian mirror" in guest.reason()
    assert not asked()
    assert asked(f"{rootfs.MIRROR}=http://m/")


def test_an_open_vswitch_that_cannot_be_had_is_asked_for_again_with_a_mirror(
    tools: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import open_vswitch
    import rootfs

    from devcloud import open_vswitch as switch

    monkeypatch.delenv(rootfs.MIRROR, raising=False)
    folder = tmp_path / "open-vswitch"
    for name, path in {"FOLDER": "", "ROOT": "root", "REASON": "ready"}.items():
        monkeypatch.setattr(switch, name, folder / path)
    monkeypatch.setattr(open_vswitch.platform, "freedesktop_os_release", dict)
    assert open_vswitch.main() == 0
    for name in ("ready", "ready-network"):
        (tmp_path / name).touch()

    def asked(*arguments: str) -> bool:
        make = ["make", "-n", f"VENV={tmp_path}", "setup-network", *arguments]
        run = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True)
        return "open_vswitch.py" in run.stdout

    assert not switch.is_here()
    assert "no Debian mirror" in switch.reason()
    assert not asked()
    assert asked(f"{rootfs.MIRROR}=http://m/")


def test_apt_touches_nothing_of_the_machines(tools: None, tmp_path: Path) -> None:
    import rootfs

    dump = ["apt-config", *(f"-o{o}" for o in rootfs.apt_options(tmp_path)), "dump"]
    said = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    options = dict(re.findall(r'^(\S+) "(.*)";$', said, re.MULTILINE))
    for name in ("State", "State::lists", "State::status", "Cache", "Cache::archives"):
        assert options[f"Dir::{name}"].startswith(str(tmp_path))
    assert options["Dir::Etc::sourcelist"] == f"{tmp_path}/sources"
    assert options["Dir::Etc::sourceparts"] == "/dev/null"


def test_the_readme_names_only_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    readme = (ROOT / "README.rst").read_text()
    named = set(re.findall(r"(?:``|^ +\$ )make ([a-z0-9-]+)", readme, re.MULTILINE))
    assert named >= {"demo", "test"}
    assert named <= targets
