# SPDX-License-Identifier: Apache-2.0

"""Launch inputs in the whole life of a guest, in a cloud of two hosts with SEV-SNP.

One server goes through all operations. After each of them, the domain and the report
of its guest have the inputs. With inputs that were made wrong, each of them is refused.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guest_owner import Owner, see_inputs
from openstack import exceptions
from split_cloud import HOST

from devcloud.multinode.power import ComputeHost
from devcloud.multinode.testing import MultinodeFixture
from devcloud.simhost import userland

HARD = {"type": "HARD"}
WRONG = {"sev:host_data": "11" * 31}
#: What Nova starts the kernel of a rescue with.
RESCUED = "root=/dev/vda console=tty0 console=ttyS0 console=hvc0"
OTHER_CMDLINE = "a rescue system has another kernel or command line"
SAID = "sev:host_data of the server has 31 bytes, but AMD SEV-SNP takes 32 bytes"


class TwoNodes(MultinodeFixture):
    """A cloud of two hosts with SEV-SNP, whose guests halt at once."""

    owner: Owner

    def __init__(self, state: Path, owner: Owner) -> None:
        nova = {"DEFAULT": {"shelved_offload_time": "0"}}
        firmware = str(owner.files["firmware"])
        host = {**HOST, "distribution": "trixie", "snp_firmware": firmware}
        super().__init__(state, nova=nova, **host)
        self.owner = owner

    def _setUp(self) -> None:
        super()._setUp()
        self.asks = {
            "hw__mem_encryption": "true",
            "hw__mem_encryption_model": "amd-sev-snp",
        }
        self.owner.join(self, self.make_flavor("snp", **self.asks))

    def logs(self) -> list[str]:
        """What each host's nova-compute has logged."""
        return [host.log() for host in self.hosts.values()]

    def xml(self, server: Any) -> tuple[ComputeHost, str] | None:
        """The host that a guest runs on, and its domain; None if it does not run."""
        found = [
            (host, xml)
            for host in self.hosts.values()
            for xml in host.running_guests()
            if f"<uuid>{server.id}</uuid>" in xml
        ]
        assert len(found) <= 1, f"{server.name} runs on {len(found)} hosts"
        return found[0] if found else None


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    if not userland.is_here("trixie"):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    owner = Owner(tmp_path_factory.mktemp("owner"))
    with TwoNodes(tmp_path_factory.mktemp("two-snp"), owner) as fixture:
        yield fixture


class Guest:
    """The owner's server with what its launches must have."""

    def __init__(self, cloud: TwoNodes) -> None:
        self.cloud, self.owner = cloud, cloud.owner
        self.image = self.owner.make_image()
        self.digest = self.owner.expect()
        self.inputs = self.owner.inputs(self.digest)
        self.server = self.owner.boot("db", self.image, self.inputs)
        assert self.server.status == "ACTIVE", self.server.fault

    @property
    def host(self) -> ComputeHost:
        return self.cloud.host_of(self.now())

    def now(self) -> Any:
        return self.cloud.connection.compute.get_server(self.server)

    def do(self, action: str, parameters: Any = None, status: str = "ACTIVE") -> None:
        """Have it done as an administrator; see the inputs, if a guest runs then."""
        outcome = self.cloud.act(self.server, action, parameters)
        assert outcome.result == "Success", (action, outcome.details)
        passing = {"SHELVED", "VERIFY_RESIZE", "REVERT_RESIZE"} - {status}
        self.server = self.cloud.settled(self.server, *passing)
        assert self.server.status == status, (action, self.server.fault)
        if status in ("ACTIVE", "RESCUE", "VERIFY_RESIZE"):
            self.see_launched(action)

    def see_launched(self, action: str) -> None:
        """See the inputs where the server is: in the domain, and in the report."""
        host, xml = self.cloud.xml(self.server) or (None, "")
        assert host is self.host, action
        see_inputs(self.owner, self.server, xml, self.digest, self.inputs)

    def set(self, values: dict[str, str]) -> None:
        """As its owner does with ``openstack server set --property``."""
        self.owner.connection.compute.set_server_metadata(self.server, **values)

    @contextlib.contextmanager
    def wrong(self, values: dict[str, str]) -> Iterator[None]:
        """Set these for a while."""
        self.set(values)
        try:
            yield
        finally:
            self.set(self.inputs)

    def see_refused(self, action: str, parameters: Any, said: str) -> None:
        """Ask for what must be refused in words, and leave the server as it is."""
        before, server = self.cloud.xml(self.server), self.now()
        logs = self.cloud.logs()
        outcome = self.cloud.act(self.server, action, parameters)
        new = (a.removeprefix(b) for a, b in zip(self.cloud.logs(), logs, strict=True))
        words = outcome.details + "".join(new)
        # Of a hard reboot that left the guest running, Nova's event is a success.
        assert said in words, (action, outcome.details)
        for name in ("status", "compute_host", "power_state", "flavor", "image"):
            after = getattr(outcome.server, name)
            assert after == getattr(server, name), (action, name, after)
        assert self.cloud.xml(self.server) == before, action


@pytest.fixture(scope="module")
def guest(cloud: TwoNodes) -> Iterator[Guest]:
    guest = Guest(cloud)
    guest.see_launched("create")
    yield guest
    cloud.delete(guest.server)


def test_operations_keep_the_inputs(cloud: TwoNodes, guest: Guest) -> None:
    guest.do("reboot", HARD)
    guest.do("os-stop", status="SHUTOFF")
    guest.do("os-start")
    guest.do("rebuild", {"imageRef": guest.image})
    guest.do("shelve", status="SHELVED_OFFLOADED")
    guest.do("unshelve")


def test_rescue_needs_an_id_block_of_its_own(cloud: TwoNodes, guest: Guest) -> None:
    """Nova gives the kernel of a rescue its own command line."""
    own = guest.digest, guest.inputs
    guest.see_refused("rescue", None, OTHER_CMDLINE)
    guest.digest = guest.owner.expect(cmdline=RESCUED)
    guest.inputs = guest.owner.inputs(guest.digest)
    guest.set(guest.inputs)
    guest.do("rescue", status="RESCUE")
    # The domain from before, although no metadata can be set before it.
    guest.digest, guest.inputs = own
    guest.do("unrescue")
    guest.set(guest.inputs)


def test_moves_keep_the_inputs(cloud: TwoNodes, guest: Guest) -> None:
    source = guest.host
    larger = cloud.make_flavor("larger", **cloud.asks)
    guest.do("migrate", None, "VERIFY_RESIZE")
    assert guest.host is cloud.other(source)
    # Nova takes no metadata until the move is confirmed or reverted.
    with pytest.raises(exceptions.ConflictException):
        guest.set(WRONG)
    guest.do("revertResize")
    assert guest.host is source
    guest.do("resize", {"flavorRef": larger}, "VERIFY_RESIZE")
    guest.do("confirmResize")
    assert guest.host is cloud.other(source)


def test_wrong_inputs_leave_the_server_as_it_is(cloud: TwoNodes, guest: Guest) -> None:
    larger = {"flavorRef": cloud.make_flavor("still-larger", **cloud.asks)}
    operations: dict[str, Any] = {
        "reboot": HARD,
        "rescue": None,
        "rebuild": {"imageRef": guest.image},
        "shelve": None,
        "migrate": None,
        "resize": larger,
    }
    with guest.wrong(WRONG):
        for action, parameters in operations.items():
            guest.see_refused(action, parameters, SAID)
    guest.do("os-stop", status="SHUTOFF")
    with guest.wrong(WRONG):
        guest.see_refused("os-start", None, SAID)
    guest.do("os-start")


def test_id_block_for_another_launch(cloud: TwoNodes, guest: Guest) -> None:
    """It is found before the guest is stopped."""
    compute = cloud.connection.compute
    flavor = compute.create_flavor(name="two-vcpus", ram=256, vcpus=2, disk=1)
    specs = {key.replace("__", ":"): value for key, value in cloud.asks.items()}
    compute.create_flavor_extra_specs(flavor, specs)
    said = "flavor two-vcpus has 2 vCPUs instead of 1"
    guest.see_refused("resize", {"flavorRef": flavor.id}, said)

    operations = {"reboot": HARD, "rebuild": {"imageRef": guest.image}}
    with guest.wrong(guest.owner.inputs("ab" * 48)):
        for action, parameters in operations.items():
            guest.see_refused(action, parameters, "but this host would launch")


def test_evacuation_keeps_the_inputs(cloud: TwoNodes, guest: Guest) -> None:
    """The last, as one host is off then."""
    dead = guest.host
    target = cloud.other(dead)
    guest.set(WRONG)
    dead.switch_off()
    cloud.take_for_dead(dead, True)

    server = cloud.evacuate(guest.server)
    # So does Nova whatever refuses an evacuation. An administrator ends it.
    assert (server.status, server.compute_host) == ("ERROR", dead.name)
    assert SAID in server.fault["message"]
    assert target.running_guests() == []

    cloud.connection.compute.reset_server_state(server, "active")
    guest.set(guest.inputs)
    server = cloud.evacuate(server)
    assert (server.status, server.compute_host) == ("SHUTOFF", target.name)
    guest.do("os-start")
