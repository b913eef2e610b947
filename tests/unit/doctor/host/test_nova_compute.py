# SPDX-License-Identifier: Apache-2.0

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import pytest

from sev_driver.doctor.host import nova_compute, ownership
from sev_driver.doctor.host.archive import Archive, Recording
from sev_driver.doctor.host.evidence import NovaCompute
from sev_driver.exceptions import DetectionError
from sev_driver.host.files import LOCAL


@pytest.fixture
def own_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """A /proc with nothing but what a test puts there: others run here, too."""
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(nova_compute, "_PROC", tmp_path / "proc")
    return tmp_path / "proc"


def process(
    proc: pathlib.Path,
    pid: int,
    *words: str,
    mounts: str = "mnt:[1]",
    uids: tuple[int, ...] = (0, 0, 0, 0),
    program: str = "",
) -> None:
    for name, namespace in ((str(pid), mounts), ("self", "mnt:[1]")):
        (proc / name / "ns").mkdir(parents=True, exist_ok=True)
        (proc / name / "ns/mnt").unlink(missing_ok=True)
        (proc / name / "ns/mnt").symlink_to(namespace)
    (proc / str(pid) / "cmdline").write_text("".join(f"{word}\0" for word in words))
    numbers = "\t".join(map(str, uids))
    (proc / str(pid) / "status").write_text(f"Name:\tx\nUid:\t{numbers}\nGid:\t0\n")
    (proc / str(pid) / "exe").symlink_to(program or os.path.realpath(words[0]))


RUNNING = ("/opt/nova/bin/python3", "/opt/nova/bin/nova-compute", "--config-file", "/x")


def test_the_one_that_runs_is_found_with_its_arguments(own_proc: pathlib.Path) -> None:
    process(own_proc, 7, "/usr/bin/python3", "/usr/bin/nova-conductor")
    process(own_proc, 9, *RUNNING)
    found = nova_compute.find(LOCAL)
    assert found == NovaCompute(RUNNING[0], ("--config-file", "/x"))


def test_a_containers_is_told_from_this_hosts(own_proc: pathlib.Path) -> None:
    process(own_proc, 9, *RUNNING, mounts="mnt:[2]")
    found = nova_compute.find(LOCAL)
    assert found is not None
    assert found.elsewhere
    process(own_proc, 10, "/usr/bin/python3", "/usr/bin/nova-compute")
    assert nova_compute.find(LOCAL) == NovaCompute("/usr/bin/python3")


NOBODY = 65534


@pytest.mark.parametrize(
    ("words", "uids", "program"),
    [
        pytest.param(RUNNING, (NOBODY,) * 4, "", id="a stranger's"),
        pytest.param(RUNNING, (NOBODY, 0, 0, 0), "", id="of a program with setuid"),
        pytest.param(RUNNING, (0,) * 4, "/usr/bin/sudo", id="sudo, named python3"),
        pytest.param(("/usr/bin/yes", *RUNNING[1:]), (0,) * 4, "", id="no Python"),
        pytest.param(RUNNING, (0,) * 4, "/usr/bin/python3.9", id="another Python"),
    ],
)
def test_process_that_only_looks_like_nova_compute_is_not_believed(
    own_proc: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    words: tuple[str, ...],
    uids: tuple[int, ...],
    program: str,
) -> None:
    monkeypatch.setattr(ownership, "UNIT_DIRECTORIES", ())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    process(own_proc, 9, *words, uids=uids, program=program)
    with contextlib.suppress(DetectionError):
        assert nova_compute.find(LOCAL) is None


def test_strangers_process_is_named_where_there_is_no_other(
    own_proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    process(own_proc, 9, *RUNNING, uids=(NOBODY,) * 4)
    with pytest.raises(DetectionError, match="process 9, named nova-compute, belongs"):
        nova_compute.find(LOCAL)


def test_user_of_the_unit_is_believed(
    own_proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "unit_users", lambda: ["nobody"])
    process(own_proc, 9, *RUNNING, uids=(NOBODY,) * 4)
    found = nova_compute.find(LOCAL)
    assert found == NovaCompute(RUNNING[0], ("--config-file", "/x"), user="nobody")


def test_script_of_a_stranger_is_not_read(
    own_proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give the script away")
    monkeypatch.setattr(ownership, "UNIT_DIRECTORIES", ())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    script(tmp_path, "", "nova-compute")
    os.chown(tmp_path / "nova-compute", NOBODY, NOBODY)
    assert nova_compute.find(LOCAL) is None


def test_a_real_process_is_seen(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "nova-compute"
    script.write_text("import sys; print('up', flush=True); sys.stdin.read()")
    command = [sys.executable, str(script), "--config-file=/nowhere/of-this-test.conf"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        all_of_them = list(nova_compute._running())
        running.communicate()
    found = [each for each in all_of_them if each.arguments == [command[2]]]
    assert [each.python for each in found] == [sys.executable]
    assert (found[0].uids, found[0].elsewhere) == (frozenset({os.geteuid()}), False)


def test_else_it_is_the_one_beside_this_python(
    own_proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert nova_compute.find(LOCAL) is None
    script = tmp_path / "nova-compute"
    script.write_text("#!/opt/nova/bin/python3\n")
    script.chmod(0o755)
    found = nova_compute.find(LOCAL)
    assert found is not None
    assert found.python == "/opt/nova/bin/python3"


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ("", ["usual", "usual.d/1.conf", "usual.d/2.conf"]),
        ("--config-file named", ["usual.d/1.conf", "usual.d/2.conf", "named"]),
        ("--config-dir named.d", ["usual", "named.d/3.conf"]),
        ("--config-dir=named.d --config-file=named", ["named.d/3.conf", "named"]),
        ("--config-file a --debug --config-file b --config-dir=none", ["a", "b"]),
    ],
)
def test_files_are_read_as_oslo_config_does(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    arguments: str,
    files: list[str],
) -> None:
    cfg = pytest.importorskip("oslo_config.cfg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nova_compute, "FILES", ("usual",))
    monkeypatch.setattr(nova_compute, "FOLDERS", ("usual.d",))
    for name in ("usual.d/2.conf", "usual.d/1.conf", "named.d/3.conf", "usual"):
        pathlib.Path(name).parent.mkdir(exist_ok=True)
        pathlib.Path(name).write_text(f"[DEFAULT]\nhost = {name}\n")
    for name in ("named", "a", "b"):
        pathlib.Path(name).write_text(f"[DEFAULT]\nhost = {name}\n")
    pathlib.Path("none").mkdir()

    assert nova_compute.configuration(arguments.split()) == files

    # The last one counts, and oslo.config has the last word on which that is.
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt("host"))
    conf.register_cli_opt(cfg.BoolOpt("debug"))
    conf(
        arguments.split(),
        default_config_files=["usual"],
        default_config_dirs=["usual.d"],
    )
    assert conf.host == files[-1]


def test_the_import_is_tried_in_its_python() -> None:
    pytest.importorskip("nova")
    recording = Recording(LOCAL)
    compute = NovaCompute(sys.executable)
    tried = nova_compute.try_import(recording, compute)
    assert "sev_driver" in tried.said
    elsewhere = Archive("", "", recording.answers)
    assert nova_compute.try_import(elsewhere, compute) == tried


def script(folder: pathlib.Path, text: str, name: str = "python3") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def roots_own() -> Iterator[pathlib.Path]:
    """A folder that none but root can change, nor any above it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = pathlib.Path("/root") / f"of-a-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_what_it_said_and_whether_it_worked(roots_own: pathlib.Path) -> None:
    said = nova_compute.try_import(
        LOCAL, NovaCompute(script(roots_own, 'echo "$@"; echo no >&2; exit 3'))
    )
    assert (said.works, said.said) == (False, "no")
    said = nova_compute.try_import(LOCAL, NovaCompute(script(roots_own, 'echo "$@"')))
    assert (said.works, said.said) == (True, "- --check")


def test_root_runs_nothing_that_others_may_change(
    roots_own: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    touched = tmp_path / "touched"
    theirs = script(roots_own, f"touch {touched}")
    os.chown(theirs, 1000, 1000)
    in_a_folder_of_all = script(tmp_path, f"touch {touched}")
    link = roots_own / "python3.11"
    link.symlink_to(in_a_folder_of_all)
    for python in (theirs, in_a_folder_of_all, str(link)):
        with pytest.raises(DetectionError, match="other than root can change"):
            nova_compute.try_import(LOCAL, NovaCompute(python))
    assert not touched.exists()


def test_root_runs_no_python_whose_packages_others_can_change(
    roots_own: pathlib.Path,
) -> None:
    packages = roots_own / "lib/python3.11/site-packages"
    (roots_own / "bin").mkdir()
    packages.mkdir(parents=True)
    python = NovaCompute(script(roots_own / "bin", "echo ran"))
    module = packages / "oslo.py"
    module.write_text("")
    assert nova_compute.try_import(LOCAL, python).said == "ran"
    os.chown(module, NOBODY, NOBODY)
    with pytest.raises(DetectionError, match=r"other than root can change .*oslo\.py"):
        nova_compute.try_import(LOCAL, python)


def test_import_has_no_more_rights_than_nova_compute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    told = 'id -u; id -G; cat > /dev/null; echo "$SECRET"; test -t 0 || echo none'
    monkeypatch.setenv("SECRET", "of root's environment")
    # pytest's own folder is for root alone.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        python = script(pathlib.Path(folder), told)
        said = nova_compute.try_import(LOCAL, NovaCompute(python, user="nobody"))
    assert said.said.splitlines() == ["65534", "65534", "", "none"]


@pytest.mark.parametrize("python", ["", "python3", "/nonexistent/python3"])
def test_what_is_no_python_is_not_run(python: str) -> None:
    with pytest.raises(DetectionError, match="cannot be run here"):
        nova_compute.try_import(LOCAL, NovaCompute(python))
