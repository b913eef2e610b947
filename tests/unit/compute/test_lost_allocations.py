# SPDX-License-Identifier: Apache-2.0

"""Which servers get lost allocations back, and what the log advises."""

from typing import Any

import pytest
from nova import objects
from nova_instances import UUID, instance

from sev_driver.compute import lost_allocations


@pytest.mark.parametrize(
    ("task_state", "vm_state", "settled"),
    [
        (None, "active", True),
        (None, "paused", True),
        (None, "rescued", True),
        # As after a rebuild that failed, and a hard reboot.
        (None, "error", True),
        # A migration holds what it has at the source.
        (None, "resized", False),
        (None, "shelved_offloaded", False),
        (None, "deleted", False),
        ("rebuilding", "active", False),
        ("deleting", "active", False),
    ],
)
def test_is_settled(task_state: Any, vm_state: str, settled: bool) -> None:
    assert lost_allocations.is_settled(task_state, vm_state) is settled


def test_shelving_is_advised_only_where_the_server_starts_again() -> None:
    assert lost_allocations.allocation_lost("1", "").endswith(
        "or shelve and unshelve the server."
    )
    refused = lost_allocations.allocation_lost("1", "Its disk is on USB.")
    assert refused.endswith("Do not shelve, stop or reboot it: Its disk is on USB.")


@pytest.mark.parametrize(
    ("specs", "properties", "expected"),
    [
        ({}, {}, {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 1}),
        # Of these alone Nova's heal_allocations makes an error.
        (
            {"hw:mem_encryption": "true", "hw:mem_encryption_model": "amd-sev-es"},
            {"hw_firmware_type": "uefi"},
            {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 1},
        ),
        (
            {"hw:mem_encryption": "true", "hw:cpu_policy": "dedicated"},
            {},
            {"PCPU": 2, "MEMORY_MB": 512, "DISK_GB": 1},
        ),
        (
            {},
            {"hw_mem_encryption": "true", "hw_cpu_policy": "dedicated"},
            {"PCPU": 2, "MEMORY_MB": 512, "DISK_GB": 1},
        ),
        (
            {"hw:mem_encryption": "true", "resources:CUSTOM_LICENCE": "1"},
            {},
            {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 1, "CUSTOM_LICENCE": 1},
        ),
    ],
)
def test_resources_of(
    specs: dict[str, str],
    properties: dict[str, str],
    expected: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = instance(specs, **properties)
    size = {"vcpus": 2, "memory_mb": 512, "root_gb": 1, "ephemeral_gb": 0, "swap": 0}
    for name, value in size.items():
        setattr(server.flavor, name, value)
    monkeypatch.setattr(
        objects.BlockDeviceMappingList,
        "get_by_instance_uuid",
        lambda *args: objects.BlockDeviceMappingList(objects=[]),
    )
    assert lost_allocations.resources_of(server) == expected
    assert server.flavor.extra_specs == specs
    assert server.uuid == UUID
