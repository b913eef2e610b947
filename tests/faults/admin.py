# SPDX-License-Identifier: Apache-2.0
"""What an admin of a cloud with several hosts looks at, and the commands he gives."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import libvirt
from lab import eventually

from devcloud.multinode.config import control_conf
from devcloud.multinode.power import ComputeHost
from devcloud.multinode.testing import MultinodeFixture


def assert_nothing_reserved(cloud: MultinodeFixture) -> None:
    """Who runs holds a slot, also in the eyes of a nova-compute that has looked."""
    look = '"GET /resource_providers/{}/allocations"'
    providers = cloud.connection.placement.resource_providers
    looks = [look.format(p.id) for name in cloud.hosts for p in providers(name=name)]
    before = cloud.log("placement")

    def seen() -> bool:
        log = cloud.log("placement")[len(before) :]
        return all(log.count(look) > 1 for look in looks)

    eventually("two updates of each host", seen)
    assert cloud.inventory() == {f"{name}_amd_sev": (1, 0) for name in cloud.hosts}


def get(cloud: MultinodeFixture, url: str) -> Any:
    """What Nova's API answers, in the version that its fixtures speak."""
    version = cloud.settings.compute_api
    return cloud.connection.compute.get(url, microversion=version).json()


def told(cloud: MultinodeFixture, server: Any, action: str) -> dict[str, Any]:
    """The results of an action, by event; None of one that has not ended."""
    url = f"/servers/{server.id}/os-instance-actions"
    actions = get(cloud, url)["instanceActions"]
    (request,) = (a["request_id"] for a in actions if a["action"] == action)
    events = get(cloud, f"{url}/{request}")["instanceAction"]["events"]
    return {e["event"]: e["result"] for e in events}


def migration_of(cloud: MultinodeFixture, server: Any) -> str:
    """As ``openstack server migration list --server …`` shows it to an admin."""
    url = f"/os-migrations?instance_uuid={server.id}"
    (migration,) = get(cloud, url)["migrations"]
    return str(migration["uuid"])


def give_back(cloud: MultinodeFixture, consumer: str) -> None:
    """``openstack resource provider allocation delete CONSUMER``"""
    answer = cloud.connection.placement.delete(f"/allocations/{consumer}")
    assert answer.status_code == 204, answer.text


def audit_of_placement(cloud: MultinodeFixture) -> str:
    command = [str(Path(sys.executable).with_name("nova-manage")), "--config-file"]
    command += [str(control_conf(cloud.cloud.layout)), "placement", "audit"]
    command += ["--verbose", "--delete"]
    # It ends with 4 when it has found something.
    return subprocess.run(command, capture_output=True, text=True).stdout


def undefine(host: ComputeHost, server: Any) -> None:
    """``virsh undefine --nvram``, of the guest that was to be moved and is off."""
    with host.libvirt() as connection:
        domain = connection.lookupByUUIDString(server.id)
        assert not domain.isActive()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
