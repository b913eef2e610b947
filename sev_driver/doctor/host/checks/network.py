# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch: whether encrypted guests can have its vhost-user ports.

A module of its own: the only check of a program that is neither Nova's nor libvirt's.
"""

from __future__ import annotations

from sev_driver.doctor.host.evidence import Evidence
from sev_driver.doctor.host.tree import Outcome, check, passed, skipped, warned
from sev_driver.model import MemoryEncryptionModel

_SETTING = "vhost-iommu-support"


@check(
    "network.vhost-iommu",
    "IOMMU of vhost-user ports",
    "ovs-vsctl list Open_vSwitch",
)
def vhost_iommu(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    switch = evidence.open_vswitch
    if switch.absent:
        return skipped("there is no ovs-vsctl on this host")
    if switch.value is None:
        return skipped(f"Open vSwitch: {switch.unknown}")
    if switch.value.get("dpdk-init") not in ("true", "try"):
        return passed("Open vSwitch uses no DPDK, and so has no vhost-user ports")
    if switch.value.get(_SETTING) == "true":
        return passed(f"other_config:{_SETTING} is true")
    return warned(
        f"Open vSwitch uses DPDK, and its other_config:{_SETTING} is not true: an "
        "encrypted guest with a vhost-user port does not start",
        f"ovs-vsctl set Open_vSwitch . other_config:{_SETTING}=true, and restart Open "
        "vSwitch",
    )
