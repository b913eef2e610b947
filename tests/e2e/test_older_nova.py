# SPDX-License-Identifier: Apache-2.0
"""An older Nova, all of it real: guests on a real libvirt, and an upgrade under them.

``make test-releases`` runs these in each release, whose Python OLDER_NOVA_PYTHON names.
"""

import dataclasses
import importlib.metadata
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import eventually

from devcloud.multinode.node import COMPUTE
from devcloud.multinode.power import ComputeHost
from devcloud.multinode.testing import MultinodeFixture, Slots
from devcloud.simhost import userland

PYTHON = os.environ.get("OLDER_NOVA_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="make test-releases runs these")
NONE, ONE = Slots.all(0), Slots.all(1)
HARD = {"type": "HARD"}
NEWEST = int(importlib.metadata.version("nova").partition(".")[0])
CUSTOM, STANDARD = {"CUSTOM_HW_CPU_X86_AMD_SEV_SNP"}, {"HW_CPU_X86_AMD_SEV_SNP"}
SNP_BEFORE_NOVA_34 = {
    "sev__model": "amd-sev-snp",
    "resources__MEM_ENCRYPTION_CONTEXT": "1",
    "trait__CUSTOM_HW_CPU_X86_AMD_SEV_SNP": "required",
    "trait__CUSTOM_AMD_SEV_HOST": "required",
}


@pytest.fixture(scope="module")
def release() -> int:
    """Of the older Nova."""
    asked = "from importlib.metadata import version; print(version('nova'))"
    told = subprocess.run(
        [PYTHON, "-c", asked], check=True, capture_output=True, text=True
    )
    return int(told.stdout.partition(".")[0])


class Older(MultinodeFixture):
    """A cloud of two hosts, in which all of Nova is the older one."""

    def __init__(self, state: Path, **host: Any) -> None:
        nova = {"DEFAULT": {"update_resources_interval": "1"}}
        super().__init__(state, nova=nova, halting_firmware=True, **host)
        self.settings = dataclasses.replace(
            self.settings, nova_python=PYTHON, compute_api="2.95"
        )

    def _setUp(self) -> None:
        super()._setUp()
        self.encrypted = self.make_flavor("encrypted", hw__mem_encryption="true")
        self.plain = self.make_flavor("plain")
        self.uefi = self.make_image("uefi", hw_firmware_type="uefi")
        self.bios = self.make_image("bios")


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Older]:
    # With slots of SEV-ES beside those of SEV: Nova up to 31 asks for one of any.
    slots = {"min_asid": 4, "max_asid": 7, "sev_es": True}
    with Older(tmp_path_factory.mktemp("older"), **slots) as cloud:
        yield cloud


def test_guests_live_as_on_the_newest(older: Older) -> None:
    server = older.boot("guest", older.encrypted, older.uefi)
    assert server.status == "ACTIVE", server.fault
    plain = older.boot("plain", older.plain, older.bios)
    assert plain.status == "ACTIVE", plain.fault
    first = older.host_of(server)
    see_encrypted(older, server)
    assert older.usage()[f"{first.name}_amd_sev_es"] == 0
    domain = older.guest(plain)
    assert domain.launch_security is None
    assert not domain.locked and not any(domain.virtio.values())
    older.check_slots({first.name: ONE, older.other(first).name: NONE})

    for action, parameters in (
        ("reboot", HARD),
        ("os-stop", None),
        ("os-start", None),
        ("rescue", {"rescue_image_ref": older.bios}),
        ("unrescue", None),
        ("rebuild", {"imageRef": older.uefi}),
    ):
        outcome = older.act(server, action, parameters)
        assert outcome.result == "Success", (action, outcome.details)
        if action != "os-stop":
            see_encrypted(older, server)
    older.check_slots({first.name: ONE, older.other(first).name: NONE})

    server = older.confirm(older.migrate(server))
    assert server.status == "ACTIVE", server.fault
    see_encrypted(older, server)
    older.check_slots({first.name: NONE, older.other(first).name: ONE})
    for each in (server, plain):
        older.delete(each)
    older.check_slots({first.name: NONE, older.other(first).name: NONE})


def see_encrypted(cloud: Older, server: Any) -> None:
    domain = cloud.guest(server)
    assert domain.launch_security == "sev"
    assert domain.loader and "OVMF" in domain.loader
    assert domain.locked
    assert domain.virtio and all(domain.virtio.values()), domain.virtio
    assert "q35" in domain.machine


@pytest.fixture(scope="module")
def rolling(tmp_path_factory: pytest.TempPathFactory, release: int) -> Iterator[Older]:
    """The newest Nova, with hosts that have not been upgraded yet."""
    if release != NEWEST - 1:
        pytest.skip(f"Nova {NEWEST} takes no hosts of Nova {release}")
    if not userland.is_here("trixie"):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    host = {"distribution": "trixie", "min_asid": 6, "max_asid": 15}
    generations = {"sev_es": True, "sev_snp": True, "misc_cgroup": True}
    with Rolling(tmp_path_factory.mktemp("rolling"), **host, **generations) as cloud:
        yield cloud


class Rolling(Older):
    def __init__(self, state: Path, **host: Any) -> None:
        super().__init__(state, **host)
        self.settings = dataclasses.replace(
            self.settings,
            nova_python="",
            compute_pythons=dict.fromkeys(self.hosts, PYTHON),
        )

    def exchange(self, host: ComputeHost, python: str) -> None:
        """Put another Nova on a host, as an operator does; its guests run on."""
        pythons = self.settings.compute_pythons | {host.name: python}
        self.settings = dataclasses.replace(self.settings, compute_pythons=pythons)
        self.settings.write(self.cloud.layout.settings)
        with self.restart_of(host):
            host.stop(COMPUTE)
            host.start(COMPUTE)

    def traits(self, provider: str) -> set[str]:
        """Those of AMD SEV-SNP that a resource provider has."""
        placement = self.connection.placement
        (found,) = placement.resource_providers(name=provider)
        answer = placement.get(f"/resource_providers/{found.id}/traits")
        return {name for name in answer.json()["traits"] if "SEV_SNP" in name}


def test_hosts_are_upgraded_and_taken_back_under_their_guests(rolling: Rolling) -> None:
    snp_flavor = rolling.make_flavor("snp", **SNP_BEFORE_NOVA_34)
    stateless = rolling.make_image(
        "stateless", hw_firmware_type="uefi", hw_firmware_stateless="true"
    )
    server = rolling.boot("guest", rolling.encrypted, rolling.uefi)
    assert server.status == "ACTIVE", server.fault
    host = rolling.host_of(server)
    snp = rolling.boot("snp", snp_flavor, stateless, host=host.name)
    assert snp.status == "ACTIVE", snp.fault
    running = {server.id: "sev", snp.id: "sev-snp"}
    used = {f"{host.name}_amd_sev": 1, f"{host.name}_amd_sev_snp": 1}
    provider = f"{host.name}_amd_sev_snp"
    assert rolling.traits(provider) == CUSTOM
    before = ids(host)

    for python, trait in (("", STANDARD), (PYTHON, CUSTOM)):
        rolling.exchange(host, python)

        eventually(
            "the trait is taken over",
            lambda trait=trait: rolling.traits(provider) == trait,
        )
        # Not one of them has been started anew.
        assert ids(host) == before
        assert {key: n for key, n in rolling.usage().items() if n} == used
        for each in (server, snp):
            outcome = rolling.act(each, "reboot", HARD)
            assert outcome.result == "Success", outcome.details
            assert rolling.guest(each).launch_security == running[each.id]
        assert host.slots_in_use() == {"sev": 1, "sev_es_snp": 1}
        before = ids(host)

    rolling.exchange(host, "")
    server = rolling.confirm(rolling.migrate(server))
    assert server.status == "ACTIVE", server.fault
    assert rolling.host_of(server) is rolling.other(host)
    see_encrypted(rolling, server)
    for each in (server, snp):
        rolling.delete(each)
    eventually("all slots are free", lambda: not any(rolling.usage().values()))


def ids(host: ComputeHost) -> dict[str, int]:
    """Of the domains that run: a domain that is started anew has another one."""
    with host.libvirt() as connection:
        return {domain.name(): domain.ID() for domain in connection.listAllDomains()}
