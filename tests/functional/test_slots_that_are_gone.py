# SPDX-License-Identifier: Apache-2.0


"""Slots that are gone, though Placement has not given them away."""

from typing import Any

import pytest
from nova_cloud import ASKED_BY_FLAVOR, SLOTS, UEFI, Cloud
from oslo_utils import uuidutils


@pytest.fixture
def cloud(empty_cloud: Cloud) -> Cloud:
    return empty_cloud


def strangers_guest(cloud: Cloud, host: str, policy: str = "0x33") -> Any:
    """Start an encrypted guest of which Nova does not know."""
    connection = cloud.computes[host].driver._host.get_connection()
    uuid = uuidutils.generate_uuid()
    return connection.createXML(
        f"<domain type='kvm'><name>stranger-{uuid}</name><uuid>{uuid}</uuid>"
        "<vcpu>1</vcpu><memory unit='KiB'>65536</memory><devices/>"
        f"<launchSecurity type='sev'><policy>{policy}</policy></launchSecurity>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>",
        0,
    )


def running(cloud: Cloud, host: str) -> list[str]:
    domains = cloud.computes[host].driver._host.list_instance_domains()
    return [domain.UUIDString() for domain in domains]


def slots(cloud: Cloud, host: str) -> tuple[int, int] | None:
    """Update Placement, and return total and reserved of plain SEV's provider."""
    cloud._run_periodics()
    return cloud.slot_inventories(host).get(f"{host}_amd_sev")


def test_a_guest_of_another_manager_reserves_its_slot_while_it_runs(
    cloud: Cloud,
) -> None:
    host = cloud.start_compute("shared-with-virsh")
    guest = strangers_guest(cloud, host)
    assert slots(cloud, host) == (SLOTS, 1)
    other = strangers_guest(cloud, host)
    assert slots(cloud, host) == (SLOTS, 2)
    for _ in range(3):
        assert slots(cloud, host) == (SLOTS, 2)
    assert (
        cloud.log.count(f"{other.UUIDString()} uses memory encryption but is not") == 1
    )
    guest.destroy()
    assert slots(cloud, host) == (SLOTS, 1)
    other.destroy()
    assert slots(cloud, host) == (SLOTS, 0)


def test_novas_own_guests_are_not_reserved(cloud: Cloud) -> None:
    host = cloud.start_compute("novas-alone")
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    assert slots(cloud, host) == (SLOTS, 0)
    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    assert slots(cloud, host) == (SLOTS, 0)
    cloud.act(server, {"os-start": None}, "ACTIVE")
    assert slots(cloud, host) == (SLOTS, 0)


def test_the_last_slot_is_not_given_away_twice(cloud: Cloud) -> None:
    cloud.flags(group="libvirt", num_memory_encrypted_guests=None)
    host = cloud.start_compute("all-but-one")
    guests = [strangers_guest(cloud, host) for _ in range(SLOTS - 1)]
    assert slots(cloud, host) == (SLOTS, SLOTS - 1)
    cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    late = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host, state="ERROR")
    assert "No valid host" in cloud.fault(late)
    for guest in guests:
        guest.destroy()


def test_a_server_between_two_hosts_is_reserved_at_none(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = (cloud.start_compute(name) for name in ("here", "there"))
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=source)
    # So the guest at the source still runs when the one at the target does.
    power_off = "nova.virt.libvirt.driver.LibvirtDriver.migrate_disk_and_power_off"
    monkeypatch.setattr(power_off, lambda *args, **kwargs: "{}")
    cloud.api.post_server_action(server["id"], {"migrate": {"host": target}})
    cloud.wait_for(server, "VERIFY_RESIZE")

    assert slots(cloud, source) == slots(cloud, target) == (SLOTS, 0)
    assert len(running(cloud, source)) == len(running(cloud, target)) == 1


def test_guests_keep_the_provider_of_a_model_that_is_lost(cloud: Cloud) -> None:
    host = cloud.start_compute("losing-while-held")
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    uuid = cloud.providers(host)[f"{host}_amd_sev"]
    cloud.kvm_parameters.sev = False
    cloud.restart(host)
    assert slots(cloud, host) == (1, 1)
    cloud.kvm_parameters.sev = True
    assert slots(cloud, host) == (SLOTS, 0)
    assert cloud.providers(host)[f"{host}_amd_sev"] == uuid
    cloud.kvm_parameters.sev = False
    assert slots(cloud, host) == (1, 1)
    cloud._delete_server(server)
    assert slots(cloud, host) is None
