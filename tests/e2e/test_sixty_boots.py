"""Many boots at once: as many run as there are slots, the rest hear why not."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openstack
import pytest
from lab import eventually

from devcloud.testing import CloudFixture

PROVIDER = "node1_amd_sev"
SLOTS, BOOTS = 15, 60
#: Requests, of one server each: all servers of a request share its fate.
AT_ONCE = 60
TIMEOUT = 480


@pytest.fixture(scope="module")
def fifteen_slots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudFixture]:
    nova = {"quota": dict.fromkeys(("instances", "cores", "ram"), "-1")}
    state = tmp_path_factory.mktemp("sixty")
    host = {"max_asid": SLOTS, "misc_cgroup": True, "halting_firmware": True}
    with CloudFixture(state, nova=nova, **host) as fixture:
        yield fixture


def test_as_many_run_as_there_are_slots_and_the_rest_hear_why_not(
    fifteen_slots: CloudFixture,
) -> None:
    cloud = fifteen_slots
    compute = cloud.connection.compute
    flavor = cloud.make_flavor("encrypted", hw__mem_encryption="true")
    image = cloud.make_image("uefi", hw_firmware_type="uefi")

    def ask(number: int) -> None:
        compute.create_server(
            name=f"guest{number}", flavor_id=flavor, image_id=image, networks="none"
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(ask, range(BOOTS)))
    for _ in openstack.utils.iterate_timeout(TIMEOUT, "some are stuck", wait=1):
        servers = list(compute.servers(details=True))
        if not any(server.status == "BUILD" or server.task_state for server in servers):
            break

    assert Counter(server.status for server in servers) == {
        "ACTIVE": SLOTS,
        "ERROR": BOOTS - SLOTS,
    }
    errors = [server for server in servers if server.status == "ERROR"]
    refused = [cloud.with_fault(server) for server in errors]
    for server in refused:
        assert server.fault["message"].startswith("No valid host was found.")
    running = {server.instance_name for server in servers if server.status == "ACTIVE"}
    assert set(cloud.virsh("list", "--name").split()) == running
    assert set(cloud.virsh("list", "--name", "--all").split()) == running
    assert cloud.usage() == {PROVIDER: SLOTS}
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == SLOTS

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(compute.delete_server, servers))
    for server in servers:
        compute.wait_for_delete(server, interval=0.3, wait=TIMEOUT)
    assert cloud.virsh("list", "--name", "--all").split() == []
    # Nova lets go of a slot when the server is gone from its API.
    eventually("all slots are free", lambda: cloud.usage() == {PROVIDER: 0})
    assert cloud.cloud.hosts[0].slots_in_use()["sev"] == 0
