# SPDX-License-Identifier: Apache-2.0
"""The compute hosts of a cloud: simulated, or this machine's own SEV."""

from devcloud.layout import Layout
from devcloud.settings import CloudSettings
from devcloud.simhost.host import RealHost, SimulatedHost, host_kind
from devcloud.simhost.settings import HostSettings

Host = SimulatedHost | RealHost

_KINDS: dict[str, type[Host]] = {"simulated": SimulatedHost, "real": RealHost}


def kind_here() -> str:
    """The kind of host to take on this machine when nobody chose one."""
    return "real" if host_kind() is RealHost else "simulated"


def compute_host(settings: CloudSettings, layout: Layout, node: HostSettings) -> Host:
    """The host of one node; the same one inside and outside of its namespaces."""
    return _KINDS[settings.host](node, layout.host(node.name))


def compute_hosts(settings: CloudSettings, layout: Layout) -> list[Host]:
    return [compute_host(settings, layout, node) for node in settings.nodes]
