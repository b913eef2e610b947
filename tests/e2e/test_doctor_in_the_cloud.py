# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of a cloud, against what that cloud then does."""

import importlib.resources
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import openstack
import pytest
from lab import eventually

from devcloud.demo.domain import DomainFacts
from devcloud.testing import CloudFixture

SEV, SEV_ES = "node1_amd_sev", "node1_amd_sev_es"
ON = {"hw__mem_encryption": "true"}
UEFI = {"hw_firmware_type": "uefi"}
SLOT = {"resources__MEM_ENCRYPTION_CONTEXT": "1"}
#: Two slots of each; the API's pages are of three.
HOST: dict[str, Any] = {
    "min_asid": 3,
    "max_asid": 4,
    "sev_es": True,
    "halting_firmware": True,
}
NOVA = {
    "DEFAULT": {"update_resources_interval": "1"},
    "api": {"max_limit": "3"},
}


class Doctor:
    """sev-doctor as an operator runs it, with a clouds.yaml."""

    def __init__(self, clouds_yaml: Path) -> None:
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("OS_")},
            "OS_CLIENT_CONFIG_FILE": str(clouds_yaml),
            "OS_CLOUD": "devcloud",
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sev_driver.cmd.doctor", *arguments]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True
        )

    def json(self, command: str, *arguments: str) -> Any:
        """What it prints, held against its schema, which ships with it."""
        done = self(command, *arguments, "--json")
        assert not done.stderr, done.stderr
        answer = json.loads(done.stdout)
        schemas = importlib.resources.files("sev_driver.doctor")
        schema = json.loads((schemas / f"{command}.schema.json").read_text())
        jsonschema.validate(answer, schema)
        well = answer["healthy" if command == "cloud" else "would_boot"]
        assert done.returncode == (0 if well else 1)
        return answer

    def plan(self, flavor: str, image: str) -> Any:
        return self.json("plan", "--flavor", flavor, "--image", image)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudFixture]:
    with CloudFixture(tmp_path_factory.mktemp("cloud"), nova=NOVA, **HOST) as fixture:
        fixture.make_flavor("fine", **ON)
        fixture.make_flavor("fine-es", **ON, hw__mem_encryption_model="amd-sev-es")
        fixture.make_flavor("plain")
        fixture.make_image("fine", **UEFI)
        fixture.make_image("bios")
        yield fixture


@pytest.fixture(scope="module")
def doctor(cloud: CloudFixture) -> Doctor:
    return Doctor(cloud.cloud.layout.clouds_yaml)


@pytest.fixture
def no_guests(cloud: CloudFixture) -> Iterator[None]:
    """Neither before the test nor after it."""
    yield
    for server in list(cloud.connection.compute.servers()):
        cloud.delete(server)
    eventually("the slots are free", lambda: not any(cloud.usage().values()))


def failures(answer: Any) -> list[tuple[str, str]]:
    return [(f["id"], f["seen"]) for f in answer["findings"] if f["verdict"] == "fail"]


def verdicts(answer: Any) -> dict[tuple[str, str], str]:
    return {(f["subject"], f["id"]): f["verdict"] for f in answer["findings"]}


@contextmanager
def made(
    cloud: CloudFixture, name: str, specs: dict[str, str], properties: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """A flavor and an image of one name, for as long as this lasts."""
    flavor = cloud.make_flavor(name, **specs)
    image = cloud.make_image(name, **properties)
    try:
        yield flavor, image
    finally:
        cloud.connection.compute.delete_flavor(flavor)
        cloud.connection.image.delete_image(image)


#: What the driver itself refuses, in words that the user gets: flavor, image, check.
REFUSED_BY_THE_DRIVER = [
    (ON, UEFI | {"hw_disk_bus": "usb"}, "plan.boot-bus"),
    ({"sev__model": "amd-sev"}, UEFI, "plan.slot"),
    (ON | {"sev__model": "amd-sev-es"}, UEFI, "plan.agreement"),
    ({"sev__model": "sev-es"} | SLOT, UEFI, "plan.agreement"),
    (ON | {"resources__VGPU": "0"}, UEFI, "plan.no-host-device"),
]


@pytest.mark.usefixtures("no_guests")
@pytest.mark.parametrize(("specs", "properties", "check"), REFUSED_BY_THE_DRIVER)
def test_a_no_is_the_drivers_own(
    cloud: CloudFixture,
    doctor: Doctor,
    specs: dict[str, str],
    properties: dict[str, str],
    check: str,
    request: pytest.FixtureRequest,
) -> None:
    name = request.node.callspec.id
    with made(cloud, name, specs, properties) as (flavor, image):
        ((found, seen),) = failures(doctor.plan(name, name))
        assert found == check
        server = cloud.boot("no", flavor, image)
        assert server.status == "ERROR"
        # Nobody has asked Placement for a slot: the driver names that it has none.
        told = "has no slot" if check == "plan.slot" else seen
        assert told[:100] in server.fault["message"]
        assert (f"flavor {name}", check.replace("plan", "flavor")) in verdicts(
            doctor.json("cloud")
        ) or check == "plan.boot-bus"


@pytest.mark.parametrize(
    ("specs", "properties", "check"),
    [
        (ON, {}, "plan.firmware-type"),
        (ON, UEFI | {"hw_machine_type": "pc"}, "plan.machine-type"),
        (ON, UEFI | {"hw_mem_encryption": "false"}, "plan.agreement"),
        (
            ON | {"hw__mem_encryption_model": "amd-sev-snp"},
            UEFI,
            "plan.firmware-stateless",
        ),
    ],
)
def test_a_no_that_the_api_says_first(
    cloud: CloudFixture,
    doctor: Doctor,
    specs: dict[str, str],
    properties: dict[str, str],
    check: str,
    request: pytest.FixtureRequest,
) -> None:
    name = request.node.callspec.id
    with made(cloud, name, specs, properties) as (flavor, image):
        ((found, _),) = failures(doctor.plan(name, name))
        assert found == check
        with pytest.raises(openstack.exceptions.HttpException) as refused:
            cloud.boot("no", flavor, image)
        assert refused.value.status_code in (400, 409)


def rows(answer: Any) -> dict[str, tuple[int, int, int]]:
    """Total, reserved and used, by generation."""
    return {
        row["generation"]: (row["total"], row["reserved"], row["used"])
        for row in answer["slots"]["hosts"]
    }


def placement(cloud: CloudFixture) -> dict[str, tuple[int, int, int]]:
    usage = cloud.usage()
    return {
        name.removeprefix("node1_").replace("_", "-"): (*numbers, usage.get(name, 0))
        for name, numbers in cloud.inventory().items()
    }


@pytest.mark.usefixtures("no_guests")
def test_the_table_and_a_plan_that_says_yes(
    cloud: CloudFixture, doctor: Doctor
) -> None:
    before = doctor.json("cloud")
    assert before["healthy"], failures(before)
    assert rows(before) == {"amd-sev": (2, 0, 0), "amd-sev-es": (2, 0, 0)}
    assert rows(before) == placement(cloud)
    for flavor in ("fine", "fine-es"):
        plan = doctor.plan(flavor, "fine")
        assert plan["would_boot"] and plan["hosts"][0]["takes_it"]
        server = cloud.boot(
            flavor,
            cloud.connection.compute.find_flavor(flavor).id,
            cloud.connection.image.find_image("fine").id,
        )
        assert server.status == "ACTIVE", server.fault
        drawn = DomainFacts.of(plan["domain"]["with_sev_driver"])
        runs = cloud.domain(server)
        for part in ("launch_security", "policy", "locked"):
            assert getattr(drawn, part) == getattr(runs, part)
        assert all(drawn.virtio.values()) and all(runs.virtio.values())
    now = doctor.json("cloud")
    assert rows(now) == {"amd-sev": (2, 0, 1), "amd-sev-es": (2, 0, 1)}
    assert rows(now) == placement(cloud)
    text = doctor("cloud").stdout
    assert "all hosts  AMD SEV         2         0     1     1       1" in text


@pytest.mark.usefixtures("no_guests")
def test_a_plan_says_no_when_all_slots_are_taken(
    cloud: CloudFixture, doctor: Doctor
) -> None:
    flavor = cloud.connection.compute.find_flavor("fine").id
    image = cloud.connection.image.find_image("fine").id
    for name in ("one", "two"):
        assert cloud.boot(name, flavor, image).status == "ACTIVE"
    plan = doctor.plan("fine", "fine")
    assert not plan["would_boot"]
    assert plan["hosts"][0]["why"] == (
        "all 2 slots of AMD SEV are taken (2 by guests, 0 reserved)"
    )
    third = cloud.boot("three", flavor, image)
    assert "No valid host" in third.fault["message"]
    # The other generation has its own, and a whole list of usages is still right.
    assert doctor.plan("fine-es", "fine")["would_boot"]
    assert rows(doctor.json("cloud")) == placement(cloud)


def test_what_else_a_host_may_lack(cloud: CloudFixture, doctor: Doctor) -> None:
    big = cloud.connection.compute.create_flavor(
        name="big", ram=1 << 30, vcpus=1, disk=1
    )
    specs = {"hw:mem_encryption": "true"}
    cloud.connection.compute.create_flavor_extra_specs(big, specs)
    try:
        (place,) = doctor.plan("big", "fine")["hosts"]
        assert place["why"].startswith("it has ")
        assert place["why"].endswith(f" of {1 << 30} MB of memory free")
        plan = doctor.json("plan", "--flavor", "fine", "--property", "trait:X=required")
        assert failures(plan)[0][1].endswith("is asked: No such trait(s): X")
        key = "trait:HW_CPU_X86_SGX=required"
        (place,) = doctor.json("plan", "--flavor", "fine", "--property", key)["hosts"]
        assert "no trait HW_CPU_X86_SGX" in place["why"]
    finally:
        cloud.connection.compute.delete_flavor(big)


def test_a_host_whose_service_is_disabled(cloud: CloudFixture, doctor: Doctor) -> None:
    compute = cloud.connection.compute
    (service,) = compute.services(binary="nova-compute")
    compute.disable_service(service, disabled_reason="new DIMMs")
    try:
        # Told by the trait as well as by the service.
        found = doctor.json("cloud")
        assert verdicts(found)["host node1", "host.service"] == "warn"
        assert found["slots"]["all"][0]["usable"] == 0
        (place,) = doctor.plan("fine", "fine")["hosts"]
        assert place["why"] == "its nova-compute is disabled"
    finally:
        compute.enable_service(service)
    assert doctor.plan("fine", "fine")["would_boot"]


@pytest.fixture
def member(cloud: CloudFixture, tmp_path: Path) -> Doctor:
    """The doctor, run by a user who is no administrator."""
    identity = cloud.connection.identity
    project = identity.create_project(name="users")
    user = identity.create_user(name="user", password="secret")
    role = identity.find_role("member")
    identity.assign_project_role_to_user(project, user, role)
    clouds = json.loads(cloud.cloud.layout.clouds_yaml.read_text())
    clouds["clouds"]["devcloud"]["auth"].update(
        username="user", password="secret", project_name="users"
    )
    file = tmp_path / "clouds.yaml"
    file.write_text(json.dumps(clouds))
    cloud.connection.image.update_image(
        cloud.connection.image.find_image("fine"), visibility="public"
    )
    return Doctor(file)


def test_a_user_without_admin_rights(member: Doctor) -> None:
    found = member.json("cloud")
    told = verdicts(found)
    assert told["flavor fine", "flavor.fits"] == "pass"
    skipped = [f for f in found["findings"] if f["verdict"] == "skip"]
    assert [f["id"] for f in skipped] == ["service.read", "host.read"]
    assert all("takes an administrator's" in f["seen"] for f in skipped)
    assert found["slots"] is None and found["healthy"]
    plan = member.plan("fine", "fine")
    assert plan["would_boot"] and not plan["hosts"] and plan["domain"]
    assert verdicts(plan)["hosts", "plan.read"] == "skip"


def test_credentials_that_are_refused(cloud: CloudFixture, tmp_path: Path) -> None:
    file = tmp_path / "clouds.yaml"
    clouds = json.loads(cloud.cloud.layout.clouds_yaml.read_text())
    clouds["clouds"]["devcloud"]["auth"]["password"] = "wrong"
    file.write_text(json.dumps(clouds))
    for arguments in (["cloud"], ["plan", "--flavor", "fine"]):
        done = Doctor(file)(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1 and "401" in done.stderr


def test_names_that_do_not_exist(doctor: Doctor) -> None:
    for arguments in (["--flavor", "x"], ["--flavor", "fine", "--image", "x"]):
        done = doctor("plan", *arguments)
        assert done.returncode == 2 and "there is no" in done.stderr
