# SPDX-License-Identifier: Apache-2.0
"""The parts of the one-machine cloud that need no root and no cloud."""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
import sqlalchemy
from oslo_db.sqlalchemy import enginefacade

from devcloud import __main__ as commands
from devcloud import interrupts, libvirt_compat
from devcloud.client import Client, CommandFailed
from devcloud.cloud import Cloud, CloudError
from devcloud.config import ini
from devcloud.layout import Layout
from devcloud.processes import ProcessId, only_child
from devcloud.reports import Report, Reporter, ReportReader
from devcloud.services import forked, sqlite
from devcloud.services.neutron import Network
from devcloud.settings import CloudSettings
from devcloud.simhost.settings import HostSettings


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", HostSettings()),
        ("--slots 3", HostSettings(max_asid=3)),
        ("--no-sev", HostSettings(sev=False)),
        ("--es-slots 5", HostSettings(min_asid=6, sev_es=True)),
        (
            "--slots 2 --es-slots 1 --snp --distribution trixie",
            HostSettings(
                min_asid=2,
                max_asid=3,
                sev_es=True,
                sev_snp=True,
                distribution="trixie",
            ),
        ),
    ],
)
def test_options_make_a_host(
    monkeypatch: pytest.MonkeyPatch, options: str, expected: HostSettings
) -> None:
    monkeypatch.setattr("sys.argv", ["devcloud", "up", *options.split()])
    assert commands._settings(commands._parse()).nodes == (expected,)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", True),
        # It has a libvirt that needs no help.
        ("--distribution trixie", False),
        # What is reported of real hosts must be what Nova really does there.
        ("--host real", False),
    ],
)
def test_cloud_of_the_commands_takes_plain_uefi_guests(
    monkeypatch: pytest.MonkeyPatch, options: str, expected: bool
) -> None:
    monkeypatch.setattr("sys.argv", ["devcloud", "up", *options.split()])
    monkeypatch.setattr(commands, "kind_here", lambda: "simulated")
    assert commands._settings(commands._parse()).mend_loader is expected


@pytest.mark.parametrize(
    ("libvirt", "needed"), [(9_000_000, True), (10_000_000, False)]
)
def test_only_an_old_libvirt_is_made_to_take_them(
    monkeypatch: pytest.MonkeyPatch, libvirt: int, needed: bool
) -> None:
    defined = []
    old = libvirt_compat.libvirt
    monkeypatch.setattr(old, "getVersion", lambda: libvirt)
    monkeypatch.setattr(old.virConnect, "defineXML", lambda _, xml: defined.append(xml))
    assert libvirt_compat.accept_loader_secure() is needed
    old.virConnect.defineXML(
        None, "<domain><os firmware='efi'><loader secure='no'/></os></domain>"
    )
    assert ("secure" in defined[0]) is not needed


def test_options_of_nova_are_laid_over_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["--nova", "sev.a=1", "--nova", "DEFAULT.b=x=y", "--nova", "sev.c="]
    monkeypatch.setattr("sys.argv", ["devcloud", "up", *given])
    settings = commands._settings(commands._parse())
    assert settings.nova == {"sev": {"a": "1", "c": ""}, "DEFAULT": {"b": "x=y"}}


def test_snp_without_slots_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["devcloud", "up", "--snp"])
    with pytest.raises(CloudError, match="--es-slots"):
        commands._settings(commands._parse())


def test_settings_survive_their_file(tmp_path: Path) -> None:
    settings = CloudSettings(
        driver="libvirt.LibvirtDriver",
        nodes=(HostSettings(name="one", max_asid=3),),
        nova={"libvirt": {"cpu_mode": "none"}},
    )

    settings.write(tmp_path / "cloud.json")

    assert CloudSettings.read(tmp_path / "cloud.json") == settings
    assert (tmp_path / "cloud.json").stat().st_mode & 0o077 == 0


def test_of_an_option_in_two_layers_the_last_counts(tmp_path: Path) -> None:
    sections = ini.merged(
        {"DEFAULT": {"a": 1, "b": True}, "x": {"a": 2}}, {"DEFAULT": {"a": 3}}
    )

    ini.write(tmp_path / "new" / "file.conf", sections)

    # DEFAULT is a section like any other to oslo.config.
    text = (tmp_path / "new" / "file.conf").read_text()
    assert " ".join(text.split()) == "[DEFAULT] a = 3 b = true [x] a = 2"


def test_reports_arrive_whole_and_end_with_the_last_writer() -> None:
    read, write = os.pipe()
    reporter = Reporter(write, "nova")
    reporter.progress("starting")
    os.write(write, b'{"who": "glance", "event": "rea')
    reader = ReportReader(read)
    assert reader.read() == [Report("nova", "progress", "starting")]
    os.write(write, b'dy", "text": ""}\n')
    os.close(write)
    assert list(reader) == [Report("glance", "ready")]


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    process = subprocess.Popen(["sleep", "60"])
    identity = ProcessId.of(process.pid)
    other = ProcessId(process.pid, identity.started - 1, identity.boot)

    assert identity.alive()
    assert not other.alive()
    assert other.end(signal.SIGKILL, timeout=1), "gone is gone"
    assert process.poll() is None, "but nobody else's process is touched"
    assert identity.end(signal.SIGKILL, timeout=10)
    assert process.wait() == -signal.SIGKILL
    assert not identity.alive()


def test_a_process_that_does_not_end_is_not_said_to() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        assert not ProcessId.of(process.pid).end(signal.SIGCONT, timeout=0.1)
    finally:
        process.kill()
        process.wait()


def test_the_only_child() -> None:
    process = subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    child = int(process.stdout.readline())
    try:
        assert only_child(process.pid) == child
    finally:
        os.kill(child, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_a_state_folder_has_one_cloud_at_a_time(tmp_path: Path) -> None:
    cloud, again = Cloud(Layout(tmp_path)), Cloud(Layout(tmp_path))

    with (
        cloud._locked(timeout=0),
        pytest.raises(CloudError, match="another cloud runs"),
        again._locked(timeout=0),
    ):
        sqlite.take_turns()


def test_to_stop_what_does_not_run_is_no_error(tmp_path: Path) -> None:
    cloud = Cloud(Layout(tmp_path / "never"))

    assert cloud.running is None
    assert cloud.stop() is False
    assert not (tmp_path / "never").exists()


def test_a_start_that_failed_shows_the_end_of_the_right_log(tmp_path: Path) -> None:
    cloud = Cloud(Layout(tmp_path))
    cloud.layout.logs.mkdir()
    cloud.layout.log("nova").write_text("old\n" * 100 + "the reason\n")

    said = str(cloud._start_failed(Report("nova", "failed", "nova has ended")))

    assert said.startswith("the cloud did not start: nova has ended\n")
    assert "  the reason\n" in said
    assert said.count("old") < 10
    assert said.endswith(str(cloud.layout.logs))


def test_a_management_command_that_fails_is_noticed() -> None:
    def leave(status: int) -> None:
        raise SystemExit(status)

    forked.run("fine", lambda: None)
    forked.run("fine", lambda: leave(0))
    with pytest.raises(forked.CommandFailed, match=r"bad .* status 3"):
        forked.run("bad", lambda: leave(3))
    with pytest.raises(forked.CommandFailed, match=r"worse .* status 1"):
        forked.run("worse", lambda: 1 / 0)


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/v2.0/ports", "200 OK", {"ports": []}),
        ("GET", "/v2.0/security-groups", "200 OK", {"security_groups": []}),
        ("GET", "/v2.0/quotas/2c8e5b1f7d0a4936", "200 OK", {"quota": {}}),
        ("POST", "/v2.0/ports", "404 Not Found", None),
        ("GET", "/v2.0/ports/1", "404 Not Found", None),
    ],
)
def test_the_network_stand_in(
    method: str, path: str, status: str, body: object
) -> None:
    answer = Network("http://here").answer(method, path)

    assert answer[0] == status
    assert body is None or answer[1] == body


def test_the_client_is_the_real_one() -> None:
    client = Client({"OS_CLOUD": "nowhere"})

    assert client("openstack --version").startswith("openstack ")
    with pytest.raises(CommandFailed, match=r"`openstack server list`.*nowhere"):
        client("openstack server list")
    with pytest.raises(ValueError, match="not a command of the openstack client"):
        client("rm -rf /")


def _transfers_that_succeed(database: Path) -> int:
    """Of two threads that read first and write later, how many may."""
    facade = enginefacade.transaction_context()
    facade.configure(connection=f"sqlite:///{database}?timeout=20")
    engine = facade.writer.get_engine()
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (n INTEGER)"))
        connection.execute(sqlalchemy.text("INSERT INTO t VALUES (0)"))
    # Both have read before either writes, unless one has to wait for the other.
    both_have_read = threading.Barrier(2)
    succeeded = []

    def transfer() -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT n FROM t")).all()
            with contextlib.suppress(threading.BrokenBarrierError):
                both_have_read.wait(0.5)
            connection.execute(sqlalchemy.text("UPDATE t SET n = n + 1"))
        succeeded.append(True)

    threads = [threading.Thread(target=transfer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(succeeded)


def test_writers_take_turns(tmp_path: Path) -> None:
    sqlite.create([tmp_path / "db"])

    def count() -> int:
        sqlite.take_turns()
        return _transfers_that_succeed(tmp_path / "db") - 2

    # In a fork: the listener is for the whole process and stays.
    forked.run("two transfers", count)


def _looks_aside(database: Path) -> int:
    """Write, and meanwhile read by another connection of the same thread, twice."""
    facade = enginefacade.transaction_context()
    facade.configure(connection=f"sqlite:///{database}?timeout=1")
    engine = facade.writer.get_engine()
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (n INTEGER)"))
    seen = []
    for _ in range(2):
        with engine.begin() as writer:
            writer.execute(sqlalchemy.text("INSERT INTO t VALUES (1)"))
            with engine.begin() as reader:
                rows = reader.execute(sqlalchemy.text("SELECT n FROM t")).all()
            seen.append(len(rows))
    return 0 if seen == [0, 1] else 1


def test_a_writer_may_look_aside(tmp_path: Path) -> None:
    sqlite.create([tmp_path / "db"])

    def look() -> int:
        sqlite.take_turns()
        return _looks_aside(tmp_path / "db")

    forked.run("a look aside", look)


def test_an_interrupt_that_python_drops_is_remembered() -> None:
    class Finalised:
        def __del__(self) -> None:
            # Whatever is raised here is printed and dropped.
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigpending()

    def main() -> int:
        interrupts.install()
        interrupts.check()
        Finalised()
        try:
            interrupts.check()
        except KeyboardInterrupt:
            return 0
        return 1

    forked.run("main", main)


def test_an_interrupt_waits_for_a_fork_to_be_over() -> None:
    def main() -> int:
        # Also where the tests run in a shell's background, with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupts.install()
        steps = []
        try:
            with interrupts.held_back():
                os.kill(os.getpid(), signal.SIGINT)
                steps.append("forked")
            steps.append("went on")
        except KeyboardInterrupt:
            return 0 if steps == ["forked"] else 1
        return 1

    forked.run("main", main)
