# SPDX-License-Identifier: Apache-2.0

"""The guide's own flavor, ``hw:mem_encryption=true`` alone, on hosts with every model.

Nova 31 and older asks Placement for a slot without saying of which model: what it is
given may be a slot of SEV-ES or SEV-SNP.
"""

from collections.abc import Iterator
from typing import Any

import generations
import pytest
from generations import ES, IMAGES, SNP, asking
from nova_cloud import (
    ASKED_BY_FLAVOR,
    ASKED_BY_IMAGE,
    COMPUTE,
    UEFI,
    Cloud,
    find,
    move_no_disks,
)

OTHER = "compute2"
SLOT = "MEM_ENCRYPTION_CONTEXT"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with generations.cloud(COMPUTE, OTHER, es_slots=5) as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def no_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    move_no_disks(monkeypatch)


def used(cloud: Cloud) -> dict[str, int]:
    """Return the slots that are allocated, by provider, without those of none."""
    found = {
        name: cloud._get_provider_usages(uuid).get(SLOT, 0)
        for host in cloud.computes
        for name, uuid in cloud.providers(host).items()
    }
    return {name: count for name, count in found.items() if count}


def policy(cloud: Cloud) -> str | None:
    return find(cloud.defined[-1], "launchSecurity/policy").text


@pytest.mark.parametrize(
    ("image", "flavor"),
    [(UEFI, ASKED_BY_FLAVOR), (ASKED_BY_IMAGE, {})],
    ids=["flavor", "image"],
)
def test_every_build_of_the_guides_flavor_starts_with_a_slot_of_sev(
    image: dict[str, str], flavor: dict[str, str], cloud: Cloud
) -> None:
    servers = [
        cloud.boot(image, flavor, host=host)
        for host in (COMPUTE, OTHER)
        for _ in range(3)
    ]

    assert len(cloud.defined) == len(servers)
    for xml in cloud.defined:
        assert find(xml, "launchSecurity/policy").text == "0x0033"
    assert used(cloud) == {f"{COMPUTE}_amd_sev": 3, f"{OTHER}_amd_sev": 3}
    for server in servers:
        cloud._delete_server(server)
    assert used(cloud) == {}


def test_a_slot_is_exchanged_and_nothing_else_of_the_allocation(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=COMPUTE)
    names = {uuid: name for name, uuid in cloud.providers().items()}
    held = {names[uuid]: r for uuid, r in cloud.resources_of(server).items()}
    assert held == {
        COMPUTE: {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 1},
        f"{COMPUTE}_amd_sev": {SLOT: 1},
    }
    cloud._delete_server(server)


@pytest.mark.parametrize("model", [ES, SNP], ids=["es", "snp"])
def test_a_flavor_with_the_trait_of_a_model_has_its_slot(
    model: Any, cloud: Cloud
) -> None:
    server = cloud.boot(IMAGES[model], asking(model), host=COMPUTE)
    assert used(cloud) == {f"{COMPUTE}_{model.symbol}": 1}
    cloud._delete_server(server)


def test_an_unshelved_guest_has_a_slot_of_sev(cloud: Cloud) -> None:
    cloud.flags(shelved_offload_time=0)
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    cloud.act(server, {"shelve": None}, "SHELVED_OFFLOADED")
    assert used(cloud) == {}
    cloud.act(server, {"unshelve": None}, "ACTIVE")
    assert policy(cloud) == "0x0033"
    assert [name[-8:] for name in used(cloud)] == ["_amd_sev"]
    cloud._delete_server(server)


def test_a_migrated_guest_has_a_slot_of_sev_on_either_host(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=COMPUTE)
    both = {f"{COMPUTE}_amd_sev": 1, f"{OTHER}_amd_sev": 1}

    cloud.act(server, {"migrate": None}, "VERIFY_RESIZE")
    assert policy(cloud) == "0x0033"
    assert used(cloud) == both
    cloud.act(server, {"revertResize": None}, "ACTIVE")
    assert used(cloud) == {f"{COMPUTE}_amd_sev": 1}

    cloud.act(server, {"migrate": None}, "VERIFY_RESIZE")
    cloud.act(server, {"confirmResize": None}, "ACTIVE")
    assert used(cloud) == {f"{OTHER}_amd_sev": 1}
    cloud._delete_server(server)


def test_an_evacuated_guest_has_a_slot_of_sev(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, host=COMPUTE)

    source = cloud.evacuate(server, COMPUTE, OTHER)

    assert policy(cloud) == "0x0033"
    assert used(cloud) == {f"{COMPUTE}_amd_sev": 1, f"{OTHER}_amd_sev": 1}
    source.start()
    cloud.api.put_service_force_down(source.service_ref.uuid, False)
    assert used(cloud) == {f"{OTHER}_amd_sev": 1}
    cloud._delete_server(server)


def test_where_the_slots_of_sev_are_taken_no_other_is_used(cloud: Cloud) -> None:
    cloud.flags(num_memory_encrypted_guests=1, group="libvirt")
    cloud._run_periodics()
    taken = [cloud.boot(UEFI, ASKED_BY_FLAVOR, host=h) for h in (COMPUTE, OTHER)]
    cloud.defined.clear()

    refused = cloud.boot(UEFI, ASKED_BY_FLAVOR, state="ERROR")

    assert not cloud.defined
    cloud._delete_server(refused)
    assert used(cloud) == {f"{COMPUTE}_amd_sev": 1, f"{OTHER}_amd_sev": 1}
    for server in taken:
        cloud._delete_server(server)
    cloud.flags(num_memory_encrypted_guests=None, group="libvirt")
    cloud._run_periodics()
