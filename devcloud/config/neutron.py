# SPDX-License-Identifier: Apache-2.0
"""neutron.conf, and a file for the agent of each compute host.

ML2 with its driver for Open vSwitch. All hosts share one Open vSwitch, in which each
has two bridges: one that Neutron manages, for the ports of its guests, and the one that
stands for its network card.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from devcloud.config import common, ini
from devcloud.endpoints import HOST, Ports
from devcloud.layout import Layout
from devcloud.open_vswitch import PORT
from devcloud.settings import CloudSettings

PROJECT = "neutron"
#: The network between the hosts, for an administrator's own networks, and the numbers
#: of the VLANs that Neutron gives to those of projects.
PHYSICAL = "physnet"
VLANS = "100:199"
#: The first agent's OpenFlow port; the others take the next ones.
_OPENFLOW_PORT = 6633
#: Who starts a privileged helper.
_PRIVSEP = (
    *("privsep", "privsep_dhcp_release", "privsep_ovs_vsctl", "privsep_namespace"),
    *("privsep_conntrack", "privsep_link"),
)


def write(
    settings: CloudSettings, layout: Layout, ports: Ports, *, queue: str, database: str
) -> None:
    """Write the files.

    :param queue: oslo.messaging's transport_url
    :param database: SQLAlchemy's URL
    """
    etc = layout.etc(PROJECT)
    login = common.credentials(settings, ports)
    server: dict[str, dict[str, Any]] = {
        "DEFAULT": {
            "core_plugin": "ml2",
            # Routers and floating addresses are in the database only: no agent has
            # packets routed.
            "service_plugins": "router",
            "api_paste_config": etc / "api-paste.ini",
            "rpc_workers": 1,
            "rpc_state_report_workers": 0,
            # How one finds out that the other process is up.
            "rpc_ping_enabled": True,
            "dhcp_agent_notification": False,
        },
        "database": {"connection": database},
        "keystone_authtoken": common.authtoken(settings, ports),
        # It tells Nova that a port is plugged.
        "nova": login,
        "placement": login,
        "ml2": {
            "type_drivers": "flat,vlan",
            "tenant_network_types": "vlan",
            "mechanism_drivers": "openvswitch",
            "extension_drivers": "port_security",
        },
        "ml2_type_flat": {"flat_networks": PHYSICAL},
        "ml2_type_vlan": {"network_vlan_ranges": f"{PHYSICAL}:{VLANS}"},
    }
    ini.write(conf(layout), ini.merged(_process(layout, PROJECT, queue), server))
    shutil.copy(Path(sys.prefix, "etc/neutron/api-paste.ini"), etc)
    sockets = layout.lib("vhost-user")
    sockets.mkdir()
    for number, node in enumerate(settings.nodes):
        sections = ini.merged(
            _process(layout, f"{PROJECT}-{node.name}", queue),
            _agent(node.name, _OPENFLOW_PORT + number),
            {"ovs": {"vhostuser_socket_dir": sockets}},
        )
        ini.write(agent_conf(layout, node.name), sections)


def conf(layout: Layout) -> Path:
    """The file of Neutron's API and of neutron-rpc-server."""
    return layout.etc(PROJECT) / "neutron.conf"


def agent_conf(layout: Layout, node: str) -> Path:
    """The file of one host's agent."""
    return layout.etc(f"{PROJECT}-{node}") / "neutron.conf"


def card(node: str) -> str:
    """The bridge that stands for a host's network card."""
    return f"phys-{node}"


def _process(layout: Layout, name: str, queue: str) -> ini.Sections:
    lib = layout.lib(name)
    lib.mkdir(parents=True, exist_ok=True)
    helper = f"privsep-helper --config-file {layout.etc(name) / 'neutron.conf'}"
    return {
        "DEFAULT": {"transport_url": queue, "state_path": lib},
        "oslo_concurrency": {"lock_path": lib / "locks"},
        # We are root, and sudo may be absent.
        "agent": {"root_helper": "env", "root_helper_daemon": ""},
        **{section: {"helper_command": helper} for section in _PRIVSEP},
    }


def _agent(node: str, openflow_port: int) -> ini.Sections:
    return {
        "DEFAULT": {"host": node},
        "agent": {"report_interval": 5, "polling_interval": 1},
        "ovs": {
            "ovsdb_connection": f"tcp:{HOST}:{PORT}",
            # In user space: the machine's kernel need not know Open vSwitch.
            "datapath_type": "netdev",
            "integration_bridge": f"br-{node}",
            "bridge_mappings": f"{PHYSICAL}:{card(node)}",
            "of_listen_port": openflow_port,
        },
        # It would take the kernel's connection tracking.
        "securitygroup": {"firewall_driver": "noop"},
    }
