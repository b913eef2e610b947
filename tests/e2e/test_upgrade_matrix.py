# SPDX-License-Identifier: Apache-2.0
"""One host from Nova 27 to the newest and back, and to stock Nova at each.

Its libvirt and its guests are real, and run on: of the host only nova-compute is
exchanged, as an operator does. The control plane is that of the newest release. Nova
supports compute hosts that are one release older; the older ones are let in by the
option that Nova has for upgrades over several releases.
"""

import configparser
import dataclasses
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import eventually

from devcloud.demo.domain import DomainFacts
from devcloud.multinode import config
from devcloud.multinode.node import COMPUTE
from devcloud.multinode.testing import MultinodeFixture
from devcloud.settings import DRIVER
from devcloud.simhost import userland

NEWEST = int(importlib.metadata.version("nova").partition(".")[0])
STOCK = "libvirt.LibvirtDriver"
#: As tools/release_venv.py makes them.
RELEASES = Path(__file__).parents[2] / ".venv" / "releases"
OLDER = (27, 31, 33)
#: Not the oldest: for stateless firmware the newest Nova's scheduler wants a trait that
#: Nova 27 does not report.
BUILT_ON = 31
HARD = {"type": "HARD"}
SLOT = "resources__MEM_ENCRYPTION_CONTEXT"
HELD = "trait__CUSTOM_AMD_SEV_HOST"

if "UPGRADE_MATRIX" not in os.environ:
    pytest.skip("make matrix runs it", allow_module_level=True)


def python(release: int) -> str:
    """The Python of a release's nova-compute, "" for the control plane's own."""
    return "" if release == NEWEST else str(RELEASES / f"nova-{release}/bin/python")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A server: what its flavor and image say, and what runs of it."""

    flavor: dict[str, str]
    image: dict[str, str]
    launch_security: str | None = None
    policy: int | None = None


def by_our_key(model: str, trait: str) -> dict[str, str]:
    """The keys that the manual gives for every release."""
    return {"sev__model": model, SLOT: "1", trait: "required", HELD: "required"}


UEFI = {"hw_firmware_type": "uefi"}
KINDS = {
    "plain": Kind({}, {}),
    "flavor": Kind({"hw__mem_encryption": "true"}, UEFI, "sev", 0x33),
    "image": Kind({}, UEFI | {"hw_mem_encryption": "true"}, "sev", 0x33),
    "es": Kind(
        by_our_key("amd-sev-es", "trait__HW_CPU_X86_AMD_SEV_ES"),
        UEFI,
        "sev",
        0x37,
    ),
    "snp": Kind(
        by_our_key("amd-sev-snp", "trait__CUSTOM_HW_CPU_X86_AMD_SEV_SNP"),
        UEFI | {"hw_firmware_stateless": "true"},
        "sev-snp",
        0x30000,
    ),
}


class Matrix(MultinodeFixture):
    """The newest control plane, and a host whose nova-compute is exchanged."""

    def __init__(self, state: Path) -> None:
        nova = {
            "DEFAULT": {"update_resources_interval": "3"},
            "sev": {"num_sev_es_guests": "2"},
            "upgrade_levels": {"compute": "antelope"},
            "workarounds": {"disable_compute_service_check_for_ffu": "true"},
        }
        super().__init__(
            state,
            nova=nova,
            distribution="trixie",
            min_asid=6,
            max_asid=15,
            sev_es=True,
            sev_snp=True,
            misc_cgroup=True,
        )
        # The other stays the oldest: Nova lets in no compute host that is older than
        # all the others.
        self.host = self.hosts["node1"]
        pythons = dict.fromkeys(self.hosts, python(OLDER[0]))
        pythons[self.host.name] = python(BUILT_ON)
        self.settings = dataclasses.replace(self.settings, compute_pythons=pythons)
        self.servers: dict[str, Any] = {}

    def _setUp(self) -> None:
        super()._setUp()
        self.other(self.host).stop(COMPUTE)

    def build(self) -> None:
        for name, kind in KINDS.items():
            flavor = self.make_flavor(name, **kind.flavor)
            image = self.make_image(name, **kind.image)
            server = self.boot(name, flavor, image, host=self.host.name)
            assert server.status == "ACTIVE", server.fault
            self.servers[name] = server

    def exchange(self, release: int, driver: str = DRIVER, *, prepare: bool) -> None:
        """Put another Nova and another driver on the host; its guests run on."""
        pythons = self.settings.compute_pythons | {self.host.name: python(release)}
        self.settings = dataclasses.replace(self.settings, compute_pythons=pythons)
        self.settings.write(self.cloud.layout.settings)
        file = config.host_conf(self.cloud.layout, self.host.name)
        options = configparser.RawConfigParser(strict=False)
        options.optionxform = str  # type: ignore[assignment,method-assign]
        options.read(file)
        options["DEFAULT"]["compute_driver"] = driver
        options["sev"]["prepare_for_stock_nova"] = str(prepare).lower()
        with file.open("w") as stream:
            options.write(stream)
        with self.restart_of(self.host):
            self.host.stop(COMPUTE)
            self.host.start(COMPUTE)

    def running(self) -> dict[str, tuple[int, str, str]]:
        """What libvirt has of each server: number, and XML as it runs and is kept."""
        with self.host.libvirt() as connection:
            return {
                domain.UUIDString(): (domain.ID(), domain.XMLDesc(), domain.XMLDesc(2))
                for domain in connection.listAllDomains()
            }

    def slots(self) -> dict[str, int]:  # type: ignore[override]
        return {name: used for name, used in self.usage().items() if used}

    def see_all(self) -> None:
        """See that each server runs as its flavor and image ask."""
        found = self.running()
        for name, kind in KINDS.items():
            xml = found[self.servers[name].id][1]
            facts = DomainFacts.of(xml)
            assert facts.launch_security == kind.launch_security, (name, xml)
            assert facts.policy == kind.policy, name
            if kind.launch_security is None:
                assert "q35" not in facts.machine
        assert self.host.slots_in_use() == {"sev": 2, "sev_es_snp": 2}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    missing = [release for release in OLDER if not Path(python(release)).exists()]
    if missing:
        pytest.skip(f"make test-releases makes the environments of {missing}")
    if not userland.is_here("trixie"):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    with Matrix(tmp_path_factory.mktemp("matrix")) as cloud:
        yield cloud


#: There and back. On the way up, each release's own driver is looked at, too.
UP = tuple(int(word) for word in os.environ["UPGRADE_MATRIX"].split())
DOWN = UP[-2::-1]


def test_guests_run_on_under_every_release_and_driver(matrix: Matrix) -> None:
    matrix.build()
    matrix.see_all()
    for release in UP:
        # Prepared, as the manual says, for what comes next.
        ours(matrix, release, prepare=True)
        stock(matrix, release)
    for release in (UP[-1], *DOWN):
        ours(matrix, release, prepare=False)
    for server in matrix.servers.values():
        matrix.delete(server)
    eventually("all slots are free", lambda: not matrix.slots())


def ours(matrix: Matrix, release: int, *, prepare: bool) -> None:
    """Exchange for this driver on ``release``; look, reboot all, and look again."""
    before = matrix.running()
    matrix.exchange(release, prepare=prepare)
    assert matrix.running() == before, release
    # Nova up to 31 has slots on the host's own provider.
    sev = "node1" if prepare and release < 32 else "node1_amd_sev"
    held = {sev: 2, "node1_amd_sev_es": 1, "node1_amd_sev_snp": 1}
    eventually(f"the slots are {held}", lambda: matrix.slots() == held)
    asked = {
        name: matrix.ask(server, "reboot", HARD)
        for name, server in matrix.servers.items()
    }
    for name, request in asked.items():
        outcome = matrix.follow(matrix.servers[name], request)
        assert outcome.result == "Success", (release, name, outcome.details)
    matrix.see_all()
    assert matrix.slots() == held, release


def stock(matrix: Matrix, release: int) -> None:
    """Exchange for stock Nova: what runs is left as it is.

    Only the plain guest is rebooted: of the others, the manual says which must be off
    the host before.
    """
    before = matrix.running()
    matrix.exchange(release, STOCK, prepare=True)
    assert matrix.running() == before, release
    outcome = matrix.act(matrix.servers["plain"], "reboot", HARD)
    assert outcome.result == "Success", outcome.details
    matrix.see_all()
