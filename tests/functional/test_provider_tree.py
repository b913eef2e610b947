# SPDX-License-Identifier: Apache-2.0

"""What Placement is told of a host's slots."""

from collections.abc import Callable

import pytest
from nova.conf import CONF
from nova_cloud import SLOTS, WITH_SEV, Cloud

SEV_TRAIT = "HW_CPU_X86_AMD_SEV"
WITHOUT_MAX_GUESTS = WITH_SEV.replace("<maxGuests>100</maxGuests>", "")


@pytest.fixture
def cloud(empty_cloud: Cloud) -> Cloud:
    return empty_cloud


@pytest.fixture
def cap() -> Callable[[int], None]:
    """Set ``[libvirt] num_memory_encrypted_guests`` for the time of a test."""
    return lambda value: CONF.set_override(
        "num_memory_encrypted_guests", value, group="libvirt"
    )


def test_the_child_provider_has_libvirts_number_and_the_trait(cloud: Cloud) -> None:
    host = cloud.start_compute("detected")
    assert cloud.slots(host) == SLOTS
    providers = cloud.providers(host)
    assert set(providers) == {"detected", "detected_amd_sev"}
    child = cloud._get_provider_traits(providers["detected_amd_sev"])
    assert {SEV_TRAIT, "OWNER_NOVA"} <= set(child)
    root = providers["detected"]
    assert SEV_TRAIT not in cloud._get_provider_traits(root)
    assert "MEM_ENCRYPTION_CONTEXT" not in cloud._get_provider_inventory(root)


def test_a_slot_is_a_whole_one_guest_each(cloud: Cloud) -> None:
    host = cloud.start_compute("units")
    provider = cloud.providers(host)["units_amd_sev"]
    inventory = cloud._get_provider_inventory(provider)["MEM_ENCRYPTION_CONTEXT"]
    assert inventory == {
        "total": SLOTS,
        "min_unit": 1,
        "max_unit": 1,
        "step_size": 1,
        "reserved": 0,
        "allocation_ratio": 1.0,
    }


def test_a_cap_below_the_detected_number_rules(
    cloud: Cloud, cap: Callable[[int], None]
) -> None:
    cap(7)
    assert cloud.slots(cloud.start_compute("capped")) == 7


def test_a_cap_of_none_takes_the_provider_away(
    cloud: Cloud, cap: Callable[[int], None]
) -> None:
    cap(0)
    assert cloud.slots(cloud.start_compute("capped-at-0")) is None


def test_a_cap_above_the_detected_number_is_overruled_with_a_warning(
    cloud: Cloud, cap: Callable[[int], None]
) -> None:
    cap(SLOTS + 23)
    assert cloud.slots(cloud.start_compute("capped-too-high")) == SLOTS
    warning = f"num_memory_encrypted_guests is {SLOTS + 23}"
    assert cloud.log.count(warning) == 1


def test_where_libvirt_gives_no_number_the_cap_is_the_number(
    cloud: Cloud, cap: Callable[[int], None]
) -> None:
    cap(9)
    with cloud.domain_features(WITHOUT_MAX_GUESTS):
        assert cloud.slots(cloud.start_compute("old-libvirt")) == 9


def test_where_neither_gives_a_number_there_is_no_limit(cloud: Cloud) -> None:
    with cloud.domain_features(WITHOUT_MAX_GUESTS):
        assert cloud.slots(cloud.start_compute("unlimited")) == 2**31 - 1


def test_a_host_that_loses_sev_loses_the_provider_at_its_restart(cloud: Cloud) -> None:
    host = cloud.start_compute("losing")
    assert cloud.slots(host) == SLOTS
    cloud.kvm_parameters.sev = False
    cloud.restart(host)
    assert cloud.slots(host) is None
    cloud.kvm_parameters.sev = True
    cloud.restart(host)
    assert cloud.slots(host) == SLOTS


def test_the_tree_that_novas_driver_keeps_has_the_slots_after_each_update(
    cloud: Cloud, cap: Callable[[int], None]
) -> None:
    host = cloud.start_compute("keeping")
    kept = [kept_slots(cloud, host)]
    cloud._run_periodics()
    kept.append(kept_slots(cloud, host))
    cap(7)
    cloud._run_periodics()
    kept.append(kept_slots(cloud, host))
    assert kept == [SLOTS, SLOTS, 7]


def kept_slots(cloud: Cloud, host: str) -> int:
    tree = cloud.computes[host].driver.provider_tree
    inventory = tree.data(f"{host}_amd_sev").inventory
    slots: int = inventory["MEM_ENCRYPTION_CONTEXT"]["total"]
    return slots
