# SPDX-License-Identifier: Apache-2.0
"""Neutron's own programs, and the network namespace in which the cloud has its switch.

Bridges and the interfaces of guests are the kernel's, so they are in a namespace that
ends with the cloud. The services listen in it and in the machine's as well. Nothing of
Neutron, os-vif or Nova is changed.
"""

import ctypes
import os
import socket
import subprocess
import sys
from pathlib import Path

from devcloud.config import neutron
from devcloud.layout import Layout
from devcloud.open_vswitch import SWITCH, OpenVSwitch
from devcloud.settings import CloudSettings
from devcloud.simhost import mounts

NAME = "neutron"
#: What the API's process reports: the other program can be started, and it answers.
DATABASE, RPC = "neutron-database", "neutron-rpc"
RPC_SERVER = "neutron-rpc-server"
#: What can be ended and started again in a running cloud.
PROGRAMS = (RPC_SERVER, SWITCH)
#: Of each host.
AGENT = "neutron-openvswitch-agent"
#: What connects the hosts.
_WIRE = "wire"
#: unshare(2)
_CLONE_NEWNET = 0x40000000


def leave_the_machines() -> None:
    """Enter a new network namespace, which has nothing but a loopback interface.

    For processes that are started from now on; sockets stay where they were made.

    :raises OSError: the kernel refuses.
    """
    mounts.require_private_namespace()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace: {os.strerror(number)}")
    # /sys/class/net is that of the namespace in which /sys was mounted.
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def listen_at(listener: socket.socket) -> socket.socket:
    """Listen in this namespace where that socket does in another."""
    return socket.create_server(listener.getsockname(), backlog=128)


def switch(layout: Layout) -> OpenVSwitch:
    """Return the cloud's Open vSwitch."""
    return OpenVSwitch(layout.lib("open-vswitch"))


def connect_hosts(settings: CloudSettings, ovs: OpenVSwitch) -> None:
    """Give each host a network card, and put them on one wire."""
    datapath = "datapath_type=netdev"
    command = ["add-br", _WIRE, "--", "set", "Bridge", _WIRE, datapath]
    for node in settings.nodes:
        card = neutron.card(node.name)
        command += ["--", "add-br", card, "--", "set", "Bridge", card, datapath]
        command += _patch(card, f"{card}-out", f"{card}-in")
        command += _patch(_WIRE, f"{card}-in", f"{card}-out")
    ovs.vsctl(*command)


def _patch(bridge: str, port: str, peer: str) -> list[str]:
    command = ["--", "add-port", bridge, port, "--", "set", "Interface", port]
    return [*command, "type=patch", f"options:peer={peer}"]


def command(layout: Layout, program: str) -> list[str]:
    """The command line of one of PROGRAMS."""
    if program == SWITCH:
        return switch(layout).switch_command()
    return [str(_script(program)), "--config-file", str(neutron.conf(layout))]


def agent_command(layout: Layout, node: str) -> list[str]:
    """The command line of a host's AGENT."""
    conf = neutron.agent_conf(layout, node)
    return [str(_script(AGENT)), "--config-file", str(conf)]


def _script(name: str) -> Path:
    return Path(sys.executable).with_name(name)
