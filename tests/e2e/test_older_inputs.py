# SPDX-License-Identifier: Apache-2.0

"""An older Nova, all of it real: a guest with an ID block and a measured kernel.

``make test-releases`` runs it in each release, as tests/e2e/test_older_nova.py.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guest_owner import Owner, see_inputs
from split_cloud import HOST
from test_older_nova import NEWEST, PYTHON, SNP_BEFORE_NOVA_34

from devcloud.multinode.testing import MultinodeFixture
from devcloud.simhost import userland

pytestmark = pytest.mark.skipif(
    not os.environ.get("OLDER_NOVA_PYTHON"), reason="make test-releases runs it"
)


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    if not userland.is_here("trixie"):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    if Path(PYTHON).parts[-3:-2] == (f"nova-{NEWEST}",):
        pytest.skip("tests/e2e/test_inputs_on_two_nodes.py has it of this Nova")
    owner = Owner(tmp_path_factory.mktemp("owner"))
    host = {"distribution": "trixie", "snp_firmware": str(owner.files["firmware"])}
    state = tmp_path_factory.mktemp("older-snp")
    cloud = MultinodeFixture(state, **HOST, **host)
    cloud.settings = dataclasses.replace(
        cloud.settings, nova_python=PYTHON, compute_api="2.95"
    )
    with cloud:
        owner.join(cloud, cloud.make_flavor("snp", **SNP_BEFORE_NOVA_34))
        yield owner


def test_id_block_with_a_kernel(owner: Owner) -> None:
    digest, cloud = owner.expect(), owner.cloud
    inputs = owner.inputs(digest)
    server = owner.boot("db", owner.make_image(), inputs)
    assert server.status == "ACTIVE", server.fault
    see_inputs(owner, server, running(cloud), digest, inputs)

    compute = owner.connection.compute
    compute.set_server_metadata(server, **owner.inputs("ab" * 48))
    before = running(cloud)
    outcome = cloud.act(server, "reboot", {"type": "HARD"})
    assert outcome.server.status == "ACTIVE" and running(cloud) == before

    compute.set_server_metadata(server, **inputs)
    outcome = cloud.act(server, "reboot", {"type": "HARD"})
    assert outcome.result == "Success", outcome.details
    assert running(cloud) != before
    see_inputs(owner, server, running(cloud), digest, inputs)
    cloud.delete(server)


def running(cloud: Any) -> str:
    """The XML of the one guest that runs."""
    (xml,) = (xml for host in cloud.hosts.values() for xml in host.running_guests())
    return str(xml)
