# SPDX-License-Identifier: Apache-2.0

"""A domain by a weaker policy than nova.conf has is not started."""

import pathlib
from typing import Any

import pytest
from nova.compute import power_state
from nova.conf import CONF
from nova_cloud import ASKED_BY_FLAVOR, UEFI, Cloud, instance_of

from sev_driver.compute.audit import Audit

#: Without NOKS, DOMAIN and SEV: keys may be shared, the guest may be sent anywhere.
WEAKER, STRICTER = "0x0001", "0x003b"


def redefine(cloud: Cloud, server: dict[str, Any], policy: str) -> Any:
    """Have the running domain of ``server`` bear ``policy``; return Nova's handle."""
    domain = cloud.driver._host.get_guest(instance_of(server))._domain
    xml = domain.XMLDesc(0)
    assert "0x0033" in xml
    domain._connection.defineXML(xml.replace("0x0033", policy)).create()
    return cloud.driver._host.get_guest(instance_of(server))


def state_of(cloud: Cloud, server: dict[str, Any]) -> int:
    state: int = cloud.driver.get_info(instance_of(server)).state
    return state


def test_launch_by_a_weaker_policy_is_refused(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    guest = redefine(cloud, server, WEAKER)
    with pytest.raises(Exception, match=r"weaker than 0x0033 of nova\.conf by NOKS"):
        guest.launch()
    cloud._delete_server(server)


def test_soft_reboot_by_a_weaker_policy_is_refused_and_the_guest_goes_on(
    cloud: Cloud,
) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    redefine(cloud, server, WEAKER)
    before = len(cloud.log)

    cloud.attempt(server, {"reboot": {"type": "SOFT"}}, "ACTIVE")

    assert "hard reboot the server" in cloud.log[before:]
    assert state_of(cloud, server) == power_state.RUNNING
    cloud.defined.clear()
    cloud.hard_reboot(server)
    (xml,) = cloud.defined
    assert "<policy>0x0033</policy>" in xml
    cloud._delete_server(server)


@pytest.mark.parametrize(("policy", "state"), [(WEAKER, "ERROR"), (STRICTER, "ACTIVE")])
def test_unrescue_starts_no_weaker_policy(
    policy: str, state: str, cloud: Cloud
) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.act(server, {"rescue": None}, "RESCUE")
    saved = pathlib.Path(CONF.instances_path) / server["id"] / "unrescue.xml"
    saved.write_text(saved.read_text().replace("0x0033", policy))
    cloud.defined.clear()

    cloud.attempt(server, {"unrescue": None}, state)

    assert bool(cloud.defined) is (state == "ACTIVE")
    assert state_of(cloud, server) == power_state.RUNNING
    if state == "ERROR":
        cloud.hard_reboot(server)
        assert "<policy>0x0033</policy>" in cloud.defined[-1]
    cloud._delete_server(server)


def test_guest_from_before_the_option_was_changed_goes_on(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    redefine(cloud, server, WEAKER)
    before = len(cloud.log)

    audit = Audit(cloud.driver._host, stop=True)
    audit.run(CONF.host)

    found = cloud.log[before:]
    assert "runs with a weaker policy than was asked for" in found
    assert "by NOKS, DOMAIN, SEV" in found
    assert audit.failures == 0
    assert state_of(cloud, server) == power_state.RUNNING
    cloud._delete_server(server)
