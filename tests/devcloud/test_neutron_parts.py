# SPDX-License-Identifier: Apache-2.0

"""A cloud with Neutron: the parts that need no cloud and no Neutron."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devcloud import __main__ as commands
from devcloud import endpoints, open_vswitch
from devcloud.cloud import CloudError
from devcloud.config import ini, neutron, nova
from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.multinode import network
from devcloud.multinode.mariadb import MariaDB
from devcloud.settings import CloudSettings, several
from devcloud.simhost.settings import HostSettings

WITH_NEUTRON = CloudSettings(network="neutron", nodes=several(HostSettings(), 2))
QUEUE, DATABASE = "rabbit://a:b@127.0.0.1:5/", "mysql+pymysql://a:b@127.0.0.1:6/neutron"
PORTS = Ports(dict.fromkeys(endpoints.ENDPOINTS, 1))


@pytest.mark.parametrize("settings", [CloudSettings(), WITH_NEUTRON])
def test_only_a_cloud_with_networks_has_their_database(
    settings: CloudSettings, tmp_path: Path
) -> None:
    database = MariaDB(settings, Layout(tmp_path))
    with database.listener:
        database.write()

    (sql,) = tmp_path.rglob("init.sql")
    expected = settings is WITH_NEUTRON
    assert ("CREATE DATABASE neutron " in sql.read_text()) is expected


@pytest.mark.parametrize("settings", [CloudSettings(), WITH_NEUTRON])
def test_nova_waits_for_ports_that_somebody_plugs(
    settings: CloudSettings, tmp_path: Path
) -> None:
    options = nova.sections(settings, Layout(tmp_path), PORTS)["DEFAULT"]

    expected = settings is WITH_NEUTRON
    assert options["vif_plugging_is_fatal"] is expected
    assert bool(options["vif_plugging_timeout"]) is expected


def test_networks_need_a_cloud_with_several_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["devcloud", "up", "--network", "neutron"]
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(CloudError, match=r"--network needs .* --nodes"):
        commands._settings(commands._parse())

    monkeypatch.setattr("sys.argv", [*given, "--nodes", "2"])

    assert commands._settings(commands._parse()).network == "neutron"


def test_vhost_user_needs_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["devcloud", "up", "--nodes", "2", "--vhost-user"]
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(CloudError, match="--network"):
        commands._settings(commands._parse())

    monkeypatch.setattr("sys.argv", [*given, "--network", "neutron"])

    assert commands._settings(commands._parse()).vhost_user


@pytest.mark.parametrize("vhost_user", [False, True])
def test_guests_share_memory_with_a_switch_that_reads_it(
    vhost_user: bool, tmp_path: Path
) -> None:
    settings = dataclasses.replace(WITH_NEUTRON, vhost_user=vhost_user)

    options = nova.sections(settings, Layout(tmp_path), PORTS)["libvirt"]

    assert ("file_backed_memory" in options) is vhost_user


def test_each_host_has_bridges_and_an_agent_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "etc" / "neutron").mkdir(parents=True)
    (prefix / "etc" / "neutron" / "api-paste.ini").touch()
    monkeypatch.setattr("sys.prefix", str(prefix))
    layout = Layout(tmp_path / "state")

    neutron.write(WITH_NEUTRON, layout, PORTS, queue=QUEUE, database=DATABASE)

    assert ini.read(neutron.conf(layout))["database"]["connection"] == DATABASE
    agents = [ini.read(neutron.agent_conf(layout, f"node{n}")) for n in (1, 2)]
    assert [agent["DEFAULT"]["host"] for agent in agents] == ["node1", "node2"]
    for option in ("integration_bridge", "bridge_mappings", "of_listen_port"):
        assert len({agent["ovs"][option] for agent in agents}) == 2
    for agent in agents:
        assert "database" not in agent
        assert agent["DEFAULT"]["transport_url"] == QUEUE
        # Linux allows 15 bytes for an interface's name.
        assert len(agent["ovs"]["integration_bridge"]) <= 15


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace needs root")
def test_services_are_reached_from_both_namespaces() -> None:
    """In a process of its own, which ends with the namespaces."""
    command = ["unshare", "--mount", "--propagation", "private", "--"]
    run = subprocess.run(
        [*command, sys.executable, "-B", "-c", _TWO_NAMESPACES],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["True", "inner"]


_TWO_NAMESPACES = """
import os, socket
from devcloud.multinode import network

outer = socket.create_server(("127.0.0.1", 0))
network.leave_the_machines()
with open("/proc/net/dev") as file:
    seen = {line.partition(":")[0].strip() for line in list(file)[2:]}
print("lo" in seen and seen == set(os.listdir("/sys/class/net")))
inner = network.listen_at(outer)
client = socket.create_connection(outer.getsockname(), timeout=5)
inner.settimeout(5)
inner.accept()
outer.setblocking(False)
try:
    outer.accept()
except BlockingIOError:
    print("inner")
"""


@pytest.mark.skipif(not open_vswitch.is_here(), reason=open_vswitch.reason())
def test_the_switch_has_its_own_libraries_and_files(tmp_path: Path) -> None:
    switch = open_vswitch.OpenVSwitch(tmp_path / "a folder" / "ovs")

    switch.create()

    for name in open_vswitch.PROGRAMS:
        assert "Open vSwitch" in switch.run(name, "--version")
    assert switch.run("ovsdb-tool", "db-name", str(switch.folder / "conf.db"))


def test_hosts_are_on_one_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    switch = open_vswitch.OpenVSwitch(Path("/nowhere"))
    monkeypatch.setattr(switch, "vsctl", lambda *command: asked.extend(command))

    network.connect_hosts(WITH_NEUTRON, switch)

    words = " ".join(asked)
    for card in ("phys-node1", "phys-node2"):
        assert f"add-port {card} {card}-out" in words
        assert f"add-port wire {card}-in" in words
        assert words.count(f"peer={card}-in") == words.count(f"peer={card}-out") == 1
