#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from sev_driver.doctor import nova_compute
from sev_driver.doctor.archive import Archive, Recording
from sev_driver.doctor.evidence import NovaCompute
from sev_driver.exceptions import DetectionError
from sev_driver.files import HERE


@pytest.fixture
def own_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """A /proc with nothing but what a test puts there: others run here, too."""
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(nova_compute, "_PROC", tmp_path / "proc")
    return tmp_path / "proc"


def process(proc: pathlib.Path, pid: int, *words: str, mounts: str = "mnt:[1]") -> None:
    for name, namespace in ((str(pid), mounts), ("self", "mnt:[1]")):
        (proc / name / "ns").mkdir(parents=True, exist_ok=True)
        (proc / name / "ns/mnt").unlink(missing_ok=True)
        (proc / name / "ns/mnt").symlink_to(namespace)
    (proc / str(pid) / "cmdline").write_text("".join(f"{word}\0" for word in words))


RUNNING = ("/opt/nova/bin/python3", "/opt/nova/bin/nova-compute", "--config-file", "/x")


def test_the_one_that_runs_is_found_with_its_arguments(own_proc: pathlib.Path) -> None:
    process(own_proc, 7, "/usr/bin/python3", "/usr/bin/nova-conductor")
    process(own_proc, 9, *RUNNING)
    found = nova_compute.find(HERE)
    assert found == NovaCompute(RUNNING[0], ("--config-file", "/x"))


def test_a_containers_is_told_from_this_hosts(own_proc: pathlib.Path) -> None:
    process(own_proc, 9, *RUNNING, mounts="mnt:[2]")
    found = nova_compute.find(HERE)
    assert found is not None
    assert found.elsewhere
    process(own_proc, 10, "/usr/bin/python3", "/usr/bin/nova-compute")
    assert nova_compute.find(HERE) == NovaCompute("/usr/bin/python3")


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
    assert (sys.executable, [command[2]], False) in all_of_them


def test_else_it_is_the_one_beside_this_python(
    own_proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert nova_compute.find(HERE) is None
    script = tmp_path / "nova-compute"
    script.write_text("#!/opt/nova/bin/python3\n")
    script.chmod(0o755)
    assert nova_compute.find(HERE) == NovaCompute("/opt/nova/bin/python3")


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
    recording = Recording(HERE)
    compute = NovaCompute(sys.executable)
    tried = nova_compute.try_import(recording, compute)
    assert "sev_driver" in tried.said
    elsewhere = Archive("", "", recording.answers)
    assert nova_compute.try_import(elsewhere, compute) == tried


def script(folder: pathlib.Path, text: str) -> str:
    path = folder / "python3"
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
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


def test_what_it_said_and_whether_it_worked(roots_own: pathlib.Path) -> None:
    said = nova_compute.try_import(
        HERE, NovaCompute(script(roots_own, 'echo "$@"; echo no >&2; exit 3'))
    )
    assert (said.works, said.said) == (False, "no")
    said = nova_compute.try_import(HERE, NovaCompute(script(roots_own, 'echo "$@"')))
    assert said.works
    assert said.said.endswith("cmd/link.py --check")


def test_root_runs_nothing_that_others_may_change(
    roots_own: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    touched = tmp_path / "touched"
    theirs = script(roots_own, f"touch {touched}")
    os.chown(theirs, 1000, 1000)
    in_a_folder_of_all = script(tmp_path, f"touch {touched}")
    link = roots_own / "link"
    link.symlink_to(in_a_folder_of_all)
    for python in (theirs, in_a_folder_of_all, str(link)):
        with pytest.raises(DetectionError, match="others may change"):
            nova_compute.try_import(HERE, NovaCompute(python))
    assert not touched.exists()


@pytest.mark.parametrize("python", ["", "python3", "/nonexistent/python3"])
def test_what_is_no_python_is_not_run(python: str) -> None:
    with pytest.raises(DetectionError, match="cannot be run here"):
        nova_compute.try_import(HERE, NovaCompute(python))
