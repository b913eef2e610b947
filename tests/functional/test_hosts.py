# SPDX-License-Identifier: Apache-2.0

"""Hosts that lose SEV, never had it, run out of slots, or change their driver."""

from typing import Any

import nova_cloud
import novas
from nova import context as nova_context
from nova import objects
from nova_cloud import ASKED_BY_FLAVOR, COMPUTE, SLOTS, UEFI
from with_driver import SEV_DRIVER, STOCK_DRIVER


def fault_on_record(server: dict[str, Any]) -> str:
    """The fault in the database; the API shows it of servers in ERROR alone."""
    faults = objects.InstanceFaultList.get_by_instance_uuids(
        nova_context.get_admin_context(), [server["id"]]
    )
    return str(faults[0].message)


def test_a_hard_reboot_on_a_host_that_lost_sev_is_refused_in_words() -> None:
    with nova_cloud.cloud() as cloud:
        server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
        plain = cloud.boot()
        cloud.kvm_parameters.sev = False
        cloud.restart()
        cloud.defined.clear()
        # Nova calls a guest that still runs ACTIVE.
        cloud.hard_reboot(server)
        assert not cloud.defined
        fault = fault_on_record(server)
        assert "hw:mem_encryption" in fault
        assert "AMD SEV is not available on this host" in fault
        cloud.hard_reboot(plain)
        assert len(cloud.defined) == 1


def test_a_start_on_a_host_that_lost_sev_is_refused_in_words_to_the_user() -> None:
    with nova_cloud.cloud() as cloud:
        server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
        cloud.act(server, {"os-stop": None}, "SHUTOFF")
        cloud.kvm_parameters.sev = False
        cloud.restart()
        cloud.defined.clear()
        cloud.attempt(server, {"os-start": None}, "SHUTOFF")
        assert not cloud.defined
        reason = cloud.last_event(server)
        assert "hw:mem_encryption" in reason
        assert "AMD SEV is not available on this host" in reason


def test_a_guest_is_refused_where_the_hosts_loss_is_not_yet_in_placement() -> None:
    with nova_cloud.cloud() as cloud:
        cloud.kvm_parameters.sev = False
        server = cloud.boot(UEFI, ASKED_BY_FLAVOR, state="ERROR")
        assert not cloud.defined
        assert cloud.fault(server)


def test_where_sev_is_off_plain_guests_boot_and_encrypted_ones_find_no_host() -> None:
    with nova_cloud.cloud(compute=False) as cloud:
        cloud.kvm_parameters.sev = False
        cloud.start_compute(COMPUTE)
        server = cloud.boot(UEFI, ASKED_BY_FLAVOR, state="ERROR")
        assert "No valid host" in cloud.fault(server)
        assert not cloud.defined
        cloud.boot()
        assert len(cloud.defined) == 1


def test_a_host_without_sev_says_why_once() -> None:
    with nova_cloud.cloud(compute=False) as cloud:
        cloud.kvm_parameters.sev = False
        cloud.start_compute(COMPUTE)
        for _ in range(3):
            cloud._run_periodics()
        assert cloud.slots() is None
        assert cloud.log.count("AMD SEV is not available on this host") == 1


def test_the_last_slot_taken_the_next_guest_finds_no_host() -> None:
    with nova_cloud.cloud(compute=False) as cloud:
        cloud.flags(group="libvirt", num_memory_encrypted_guests=1)
        cloud.start_compute(COMPUTE)
        first = cloud.boot(UEFI, ASKED_BY_FLAVOR)
        second = cloud.boot(UEFI, ASKED_BY_FLAVOR, state="ERROR")
        assert "No valid host" in cloud.fault(second)
        cloud.boot()
        cloud._delete_server(first)
        cloud.boot(UEFI, ASKED_BY_FLAVOR)


def test_one_can_go_from_stock_to_ours_and_back_without_losing_a_slot() -> None:
    with nova_cloud.cloud(STOCK_DRIVER) as cloud:
        image = UEFI | {"hw_machine_type": "q35"}
        server = cloud.boot(image, ASKED_BY_FLAVOR)
        before = slots_held(cloud, server)

        cloud.use_driver(SEV_DRIVER)
        cloud.restart()
        cloud._run_periodics()
        assert slots_held(cloud, server) == {f"{COMPUTE}_amd_sev": 1}
        assert (cloud.slots(), cloud.slots_used()) == (SLOTS, 1)
        if novas.RELEASE < 32:
            # Where stock Nova has them: it would never find them on the child.
            assert before == {COMPUTE: 1}
            cloud.flags(group="sev", slots_on_root_provider=True)
            cloud.restart()
            cloud._run_periodics()

        cloud.use_driver(STOCK_DRIVER)
        cloud.restart()
        cloud._run_periodics()
        assert slots_held(cloud, server) == before
        cloud.hard_reboot(server)
        cloud.boot(image, ASKED_BY_FLAVOR)


def slots_held(cloud: nova_cloud.Cloud, server: dict[str, Any]) -> dict[str, int]:
    """The slots of a server, by the names of the providers."""
    held = cloud._get_allocations_by_server_uuid(server["id"])
    return {
        name: held[uuid]["resources"]["MEM_ENCRYPTION_CONTEXT"]
        for name, uuid in cloud.providers().items()
        if "MEM_ENCRYPTION_CONTEXT" in held.get(uuid, {}).get("resources", {})
    }
