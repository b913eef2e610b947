# SPDX-License-Identifier: Apache-2.0
"""What the demo reads off libvirt and the client, and how it tells a failure."""

import pytest

from devcloud.client import Client
from devcloud.demo.domain import DomainFacts, excerpt
from devcloud.demo.stage import Stage, StepFailed
from devcloud.demo.tables import fields, rows
from devcloud.progress import Progress

ENCRYPTED = """
<domain>
  <memoryBacking><locked/></memoryBacking>
  <os>
    <type machine="pc-q35-7.2">hvm</type>
    <loader type="pflash">/OVMF.fd</loader>
  </os>
  <devices>
    <disk><driver name="qemu" iommu="on"/><target dev="vda" bus="virtio"/></disk>
    <disk><target dev="sda" bus="sata"/></disk>
    <rng model="virtio"><driver iommu="on"/><backend>/dev/urandom</backend></rng>
  </devices>
  <launchSecurity type="sev"><policy>0x0033</policy></launchSecurity>
</domain>"""

PLAIN = """
<domain>
  <os><type machine="pc">hvm</type></os>
  <devices>
    <disk><target dev="vda" bus="virtio"/></disk>
    <memballoon model="virtio"/>
  </devices>
</domain>"""

TABLE = """\
+------+-------+
| name | total |
+------+-------+
| a    |    15 |
| b    |       |
+------+-------+
"""


def test_an_encrypted_domain() -> None:
    assert DomainFacts.of(ENCRYPTED) == DomainFacts(
        launch_security="sev",
        policy=0x33,
        machine="pc-q35-7.2",
        loader="/OVMF.fd",
        loader_type="pflash",
        locked=True,
        virtio={"disk vda": True, "rng": True},
    )


def test_a_plain_domain() -> None:
    assert DomainFacts.of(PLAIN) == DomainFacts(
        launch_security=None,
        policy=None,
        machine="pc",
        loader=None,
        loader_type=None,
        locked=False,
        virtio={"disk vda": False, "memballoon": False},
    )


def test_one_device_without_iommu_shows() -> None:
    half = ENCRYPTED.replace('name="qemu" iommu="on"', 'name="qemu"')

    assert DomainFacts.of(half).virtio == {"disk vda": False, "rng": True}


def test_the_excerpt_leaves_out_what_does_not_matter() -> None:
    shown = excerpt(ENCRYPTED)

    assert "launchSecurity" in shown
    assert "iommu" in shown
    assert "urandom" not in shown
    assert "sda" not in shown


def test_tables_of_the_client() -> None:
    assert rows(TABLE) == [{"name": "a", "total": "15"}, {"name": "b", "total": ""}]
    assert fields("| Field | Value |\n| status | ACTIVE |") == {"status": "ACTIVE"}


@pytest.fixture
def stage() -> Stage:
    return Stage(Client({}), {"PATH": "/usr/bin:/bin", "WHO": "me"}, Progress())


def test_a_fact_that_is_none_names_its_step(stage: Stage) -> None:
    with pytest.raises(StepFailed, match=r"step 2\. Second: not so: it is two \(fou"):
        with stage.step("First"):
            stage.check("it is one", 1, 1)
        with stage.step("Second"):
            stage.check("it is two", 1, 2)


def test_a_command_that_fails_names_its_step(stage: Stage) -> None:
    with (
        pytest.raises(StepFailed, match=r"step 1\. Look: `ls /nowhere`.*status 2"),
        stage.step("Look"),
    ):
        stage.shell("ls /nowhere")


def test_commands_are_shown_as_one_types_them(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stage.shell("printenv WHO") == "me\n"
    assert capsys.readouterr().out == "  $ printenv WHO\n    me\n"
