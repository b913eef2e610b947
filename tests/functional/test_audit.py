# SPDX-License-Identifier: Apache-2.0

"""The audit: it stops what runs in the clear, and nothing else."""

import pytest
from nova import context as nova_context
from nova.compute import power_state, task_states
from nova.conf import CONF
from nova_cloud import (
    ASKED_BY_FLAVOR,
    ASKED_BY_IMAGE,
    UEFI,
    Cloud,
    instance_of,
)

from sev_driver.compute import instance as guest_request
from sev_driver.compute.audit import Audit


def redefined(cloud: Cloud, server: dict[str, object], old: str, new: str) -> None:
    """Have the running domain bear ``new`` for ``old``, behind Nova's back."""
    instance = instance_of(server)
    domain = cloud.driver._host.get_guest(instance)._domain
    xml = domain.XMLDesc(0)
    assert old in xml
    domain._connection.defineXML(xml.replace(old, new)).create()


@pytest.mark.parametrize(
    ("old", "new", "stopped", "said"),
    [
        ("launchSecurity", "launchInsecurity", True, "runs in the clear"),
        ("0x0033", "0x0037", False, "is not encrypted as requested"),
        ("0x0033", "0x0032", False, "is not encrypted as requested"),
        ("0x0033", "0x0033", False, None),
    ],
)
def test_only_what_has_no_encryption_is_stopped(
    old: str, new: str, stopped: bool, said: str | None, cloud: Cloud
) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    redefined(cloud, server, old, new)
    before = len(cloud.log)

    Audit(cloud.driver._host, stop=True).run(CONF.host)

    state = cloud.driver.get_info(instance_of(server)).state
    assert (state != power_state.RUNNING) == stopped
    found = cloud.log[before:]
    assert (said in found) if said else ("Audit:" not in found)
    cloud._delete_server(server)


def test_a_guest_in_the_middle_of_an_action_is_left_alone(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    redefined(cloud, server, "launchSecurity", "launchInsecurity")
    instance = instance_of(server)
    instance._context = nova_context.get_admin_context()
    instance.task_state = task_states.RESIZE_MIGRATING
    instance.save()

    audit = Audit(cloud.driver._host, stop=True)
    audit.run(CONF.host)

    assert audit.failures == 0
    instance.task_state = None
    instance.save()
    cloud._delete_server(server)


def test_guest_that_was_rebuilt_since_it_was_listed_is_left_alone(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit of many guests takes a while, and a rebuild is quick."""
    server = cloud.boot(ASKED_BY_IMAGE)
    listed = list(guest_request.instances_on(CONF.host))
    cloud._rebuild_server(server, cloud.image("plain-since-it-was-listed"))
    monkeypatch.setattr(guest_request, "instances_on", lambda hostname: listed)
    before = len(cloud.log)

    audit = Audit(cloud.driver._host, stop=True)
    audit.run(CONF.host)

    assert audit.failures == 0
    assert "Audit:" not in cloud.log[before:]
    assert cloud.driver.get_info(instance_of(server)).state == power_state.RUNNING
    cloud._delete_server(server)


def test_guest_that_has_suspended_itself_is_audited(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is on the host, and it runs again when somebody wakes it."""
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    redefined(cloud, server, "launchSecurity", "launchInsecurity")
    guest = cloud.driver._host.get_guest(instance_of(server))
    sleeping = power_state.SUSPENDED
    monkeypatch.setattr(type(guest), "get_power_state", lambda *args: sleeping)

    audit = Audit(cloud.driver._host, stop=False)
    audit.run(CONF.host)

    monkeypatch.undo()
    assert audit.failures == 1
    cloud._delete_server(server)


def test_a_guest_that_cannot_be_looked_at_hides_no_other(cloud: Cloud) -> None:
    servers = [cloud.boot(UEFI, ASKED_BY_FLAVOR) for _ in range(3)]
    for server in servers:
        redefined(cloud, server, "launchSecurity", "launchInsecurity")
    gone = cloud.driver._host.get_guest(instance_of(servers[1]))._domain

    class ThatBreaks(type(gone)):  # type: ignore[misc]
        def XMLDesc(self, flags: int) -> str:
            raise RuntimeError("libvirt lost it between two calls")

    gone.__class__ = ThatBreaks
    before = len(cloud.log)
    audit = Audit(cloud.driver._host, stop=False)
    audit.run(CONF.host)

    assert audit.failures == 2
    found = cloud.log[before:]
    assert found.count("runs in the clear") == 2
    assert "cannot determine" in found
    gone.__class__ = ThatBreaks.__base__
    for server in servers:
        cloud._delete_server(server)
