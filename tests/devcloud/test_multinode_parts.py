# SPDX-License-Identifier: Apache-2.0
"""The parts of a cloud with several hosts, each by itself."""

import contextlib
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud import libvirt_compat
from devcloud.children import Children
from devcloud.layout import Layout
from devcloud.multinode import config, control
from devcloud.multinode.attendant import Attendant
from devcloud.multinode.control import ControlError, ControlSocket
from devcloud.multinode.mariadb import MariaDB
from devcloud.multinode.rabbitmq import RabbitMQ
from devcloud.multinode.readiness import ReadinessSocket
from devcloud.settings import CloudSettings, several
from devcloud.simhost.settings import HostSettings

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
DEAF = [
    sys.executable,
    "-c",
    "import signal as s; s.signal(s.SIGTERM, s.SIG_IGN); print('deaf', flush=True)\n"
    "while True: s.pause()",
]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.create()
    return layout


# Requests


def answered(path: Path, error: str | None) -> None:
    """One that answers the first request with that."""
    requests = ControlSocket(path)
    threading.Thread(target=lambda: requests.accept().answer(error)).start()


def test_a_request_is_answered_however_long_the_path_is(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("path" * 20)
    folder.mkdir(parents=True)
    answered(folder / "control", None)

    control.ask(folder / "control", "start", "node1")


def test_who_asks_is_told_why_not(tmp_path: Path) -> None:
    answered(tmp_path / "control", "there is none")

    with pytest.raises(ControlError, match="kill node9: there is none"):
        control.ask(tmp_path / "control", "kill", "node9")


def test_one_that_ends_before_it_answers_has_not_done_it(tmp_path: Path) -> None:
    requests = ControlSocket(tmp_path / "control")
    threading.Thread(target=lambda: requests.accept().line.close()).start()

    with pytest.raises(ControlError, match="ended before it could answer"):
        control.ask(tmp_path / "control", "start", "node1")


# Processes on request


class Keeper(Attendant):
    """Starts sleepers of any name."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.children = Children()
        self.events = selectors.DefaultSelector()
        signals = self.children.signals
        self.events.register(signals, selectors.EVENT_READ, self.children.reap)

    def start_process(self, name: str) -> None:
        command = DEAF if name == "deaf" else SLEEPER
        self.children.spawn(name, command, {}, self.layout.log(name))


@contextlib.contextmanager
def signals_as_they_were() -> Iterator[None]:
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def keeper(layout: Layout) -> Iterator[Keeper]:
    with signals_as_they_were():
        keeper = Keeper(layout)
        yield keeper
        for name in ("one", "deaf"):
            if pid := keeper.children.pid(name):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def test_a_process_is_started_once(keeper: Keeper) -> None:
    keeper.act("start", "one")
    assert keeper.children.pid("one")

    with pytest.raises(ControlError, match="it runs already"):
        keeper.act("start", "one")


def test_when_a_kill_is_done_the_process_is_gone(keeper: Keeper) -> None:
    keeper.act("start", "one")
    pid = keeper.children.pid("one")

    keeper.act("kill", "one")

    assert keeper.children.pid("one") is None
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ControlError, match="it does not run"):
        keeper.act("kill", "one")


def test_one_that_will_not_end_is_killed(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devcloud.multinode.attendant.PATIENCE", 0.2)
    keeper.act("start", "deaf")
    while "deaf" not in keeper.layout.log("deaf").read_text():
        time.sleep(0.02)

    keeper.act("stop", "deaf")

    assert keeper.children.pid("deaf") is None


def test_an_unknown_request_is_refused(keeper: Keeper) -> None:
    with pytest.raises(ControlError, match="start, stop, kill"):
        keeper.act("restart", "one")


# Readiness


def test_ready_is_what_says_ready() -> None:
    readiness = ReadinessSocket()
    address = "\0" + readiness.environment["NOTIFY_SOCKET"].removeprefix("@")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.connect(address)
        server.send(b"STATUS=Startup in progress\n")
        assert not readiness.is_ready()
        server.send(b"READY=1\nSTATUS=\n")
        assert readiness.is_ready()
    readiness.close()


# What is written


def test_hosts_share_no_name_and_no_port() -> None:
    one, two = several(HostSettings(max_asid=3), 2)

    assert (one.name, two.name) == ("node1", "node2")
    assert one.max_asid == two.max_asid == 3
    assert one.remote_display_port_max < two.remote_display_port_min
    assert one.migration_port_max < two.migration_port_min


def test_only_the_control_processes_know_a_database(layout: Layout) -> None:
    settings = CloudSettings(nodes=several(HostSettings(), 2))
    sections = written(settings, layout)

    assert "mysql+pymysql" in sections["control"]
    for node in ("node1", "node2"):
        assert "mysql" not in sections[node] and "sqlite" not in sections[node]
        assert f"state_path = {layout.lib(f'nova-{node}')}" in sections[node]
        assert f"instances_path = {layout.lib('nova')}/instances" in sections[node]


def test_the_clouds_own_options_win(layout: Layout) -> None:
    settings = CloudSettings(
        nodes=several(HostSettings(), 2), nova={"DEFAULT": {"report_interval": "7"}}
    )

    sections = written(settings, layout)

    assert all("report_interval = 7" in text for text in sections.values())


def written(settings: CloudSettings, layout: Layout) -> dict[str, str]:
    from devcloud.endpoints import ENDPOINTS, Ports

    databases = MariaDB(settings, layout)
    queue = RabbitMQ(settings, layout)
    ports = Ports(dict.fromkeys(ENDPOINTS, 1))
    config.write(settings, layout, ports, queue=queue, databases=databases)
    databases.listener.close()
    files = {name: config.host_conf(layout, name) for name in ("node1", "node2")}
    files["control"] = config.control_conf(layout)
    return {name: file.read_text() for name, file in files.items()}


def test_an_old_libvirt_is_spared_what_it_refuses() -> None:
    xml = "<domain><os firmware='efi'><loader secure='no'/></os></domain>"

    assert "secure" not in libvirt_compat.without_loader_secure(xml)


@pytest.mark.parametrize(
    "xml",
    [
        "<domain><os><loader secure='no'>/a/path</loader></os></domain>",
        "<domain ><os firmware='efi'/></domain>",
    ],
)
def test_all_else_stays_to_the_letter(xml: str) -> None:
    assert libvirt_compat.without_loader_secure(xml) == xml
