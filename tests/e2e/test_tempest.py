# SPDX-License-Identifier: Apache-2.0
"""A few tests of OpenStack's Tempest, with encrypted flavors: make tempest has more."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lab import eventually

from devcloud.testing import CloudFixture

TOOLS = Path(__file__).parents[2] / "tools"
#: What a server goes through on one host. Nova's API refuses to suspend it, which is an
#: expected failure.
TESTS = (
    r"ServerActionsTestJSON\.test_(rebuild_server|resize_server_confirm)",
    r"ServerActionsTestJSON\.test_(stop_start_server|suspend_resume_server)",
)


class Modules(NamedTuple):
    """Those of tools/."""

    conf: Any
    program: Any
    results: Any


@pytest.fixture
def tempest(monkeypatch: pytest.MonkeyPatch) -> Modules:
    monkeypatch.syspath_prepend(str(TOOLS))
    import tempest_conf
    import tempest_program
    import tempest_results
    import tempest_venv

    if not tempest_venv.is_made():
        pytest.skip("Tempest is not installed: make setup-tempest")
    return Modules(tempest_conf, tempest_program, tempest_results)


def encrypted_guests(cloud: CloudFixture) -> tuple[int, int, int]:
    """Return the slots in use by Placement, by libvirt and by the hardware."""
    names = cloud.virsh("list", "--name").split()
    running = sum("<launchSecurity" in cloud.virsh("dumpxml", name) for name in names)
    (host,) = cloud.cloud.hosts
    return sum(cloud.usage().values()), running, host.slots_in_use()["sev"]


def test_tempest_with_encrypted_flavors(
    cloud: CloudFixture, tempest: Modules, tmp_path: Path
) -> None:
    before = encrypted_guests(cloud)
    kind = tempest.results.ENCRYPTED
    parts = tempest.conf.Parts(
        tempest.conf.make_flavors(cloud, kind),
        tempest.conf.make_images(cloud.make_image),
    )

    run = tempest.program.run(cloud, parts, tmp_path / kind, TESTS)

    expected = tempest.results.read_expected(tempest.results.EXPECTED.read_text())
    assert tempest.results.complaints({kind: run}, expected, whole=False) == []
    assert run.count(tempest.results.Status.PASSED) == 3
    assert run.count(tempest.results.Status.FAILED) == 1
    # Nova gives a slot back a moment after the server is gone.
    eventually("no slot is lost", lambda: encrypted_guests(cloud) == before)
