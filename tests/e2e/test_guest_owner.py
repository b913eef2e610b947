# SPDX-License-Identifier: Apache-2.0

"""The owner of a guest checks it with programs that have nothing to do with us.

All verdicts are of one report of one guest, which a member of a project created: a bad
case is another expectation. A host that lies is another guest.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guest_owner
import owners_keys
import pytest
from guest_owner import NONCE, USER_DATA, Expectation, Owner
from split_cloud import HOST, NOVA, Split

from devcloud.simhost import userland
from devcloud.simhost.psp import keys

BAD_SIGNATURE, NOT_AS_EXPECTED = 2, 5


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    if not userland.is_here("trixie"):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    owner = Owner(tmp_path_factory.mktemp("owner"))
    state = tmp_path_factory.mktemp("owner-cloud")
    firmware = str(owner.files["firmware"])
    host = {**HOST, "distribution": "trixie", "snp_firmware": firmware}
    with Split(state, nova=NOVA, **host) as split:
        owner.join(split, split.parts["snp"][0])
        yield owner


@pytest.fixture(scope="module")
def image(owner: Owner) -> str:
    return owner.make_image()


@pytest.fixture(scope="module")
def server(owner: Owner, image: str) -> Iterator[Any]:
    server = owner.boot("db", image, owner.inputs(owner.expect()))
    assert server.status == "ACTIVE", server.fault
    yield server
    owner.cloud.delete(server)


@pytest.fixture(scope="module")
def report(owner: Owner, server: Any) -> Path:
    return owner.report(server)


@pytest.fixture(scope="module")
def expected(owner: Owner, report: Path) -> Expectation:
    return Expectation(
        measurement=owner.expect(),
        host_data=hashlib.sha256(USER_DATA).hexdigest(),
        report_data=NONCE.hex(),
        root=report / "cert_chain.pem",
        id_key=owners_keys.digest(owners_keys.ID_KEY),
    )


def test_good_guest_is_verified_by_both(report: Path, expected: Expectation) -> None:
    assert expected.by_omne_attest(report) == 0
    assert expected.by_go_sev_guest(report) == 0


def test_host_says_what_its_owner_computes(owner: Owner, server: Any) -> None:
    shown = owner.connection.compute.get_server(server)
    assert shown.metadata["sev:launched_digest"] == owner.expect()
    assert shown.metadata["sev:launched_cpu"].split()[0] == guest_owner.CPU


#: What the owner gives nothing to compare with.
HOSTS_WORD = {"firmware_path", "policy", "by"}


def test_sev_owner_shows_what_is_the_owners_and_what_the_hosts_word(
    owner: Owner, server: Any
) -> None:
    status, shown = owner.show(server)
    assert status == 0
    assert {fact for fact, word in shown.items() if word != "yours"} == HOSTS_WORD
    assert {shown[fact] for fact in HOSTS_WORD} == {"the host's word"}
    status, shown = owner.show(server, policy="0x30000")
    assert (status, shown["policy"]) == (0, "yours")
    status, shown = owner.show(server, firmware=owner.files["other-firmware"])
    differs = {fact for fact, word in shown.items() if word == "differs"}
    assert (status, differs) == (1, {"digest", "firmware"})


def test_plan_of_the_owners_server(owner: Owner, image: str) -> None:
    plan = owner.plan(owner.inputs(owner.expect()))
    assert plan["would_boot"], plan["findings"]
    assert verdicts(plan)["plan.inputs"] == "pass"
    inputs = owner.inputs(owner.expect()) | {"sev:host_data": "ab", "sev:hostdata": "1"}
    plan = owner.plan(inputs)
    refused = [f["seen"] for f in plan["findings"] if f["verdict"] == "fail"]
    assert len(refused) == 2 and not plan["would_boot"]
    # As the driver says it: of more than one fault, the user sees the first ones.
    server = owner.boot("refused", image, inputs)
    assert server.status == "ERROR"
    assert any(words[:60] in server.fault["message"] for words in refused)
    owner.cloud.delete(server)


def test_plan_knows_which_host_has_the_required_firmware(owner: Owner) -> None:
    data = owner.files["firmware"].read_bytes()
    name = f"CUSTOM_SEV_FIRMWARE_{hashlib.sha256(data).hexdigest()[:12].upper()}"
    trait = f"trait:{name}=required"
    plan = owner.plan({}, "--image-property", trait)
    assert plan["would_boot"] and verdicts(plan)["plan.firmware"] == "pass"
    other = trait.replace(name[-12:], "0" * 12)
    plan = owner.plan({}, "--image-property", other)
    assert not plan["would_boot"] and verdicts(plan)["plan.firmware"] == "fail"


def test_operator_sees_on_what_the_digest_depends(owner: Owner) -> None:
    said = {each["id"]: each for each in owner.doctor("cloud")["findings"]}
    data = owner.files["firmware"].read_bytes()
    assert (
        hashlib.sha256(data).hexdigest()[:12].upper() in said["host.firmware"]["seen"]
    )
    # libvirt's name of this machine's processor, which Nova reports.
    (node,) = owner.cloud.connection.compute.hypervisors(details=True)
    assert said["host.cpu"]["verdict"] == "pass"
    assert f" on {node.name}" in said["host.cpu"]["seen"]


def verdicts(plan: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["verdict"] for each in plan["findings"]}


@pytest.mark.parametrize(
    "other",
    [
        {"firmware": "other-firmware"},
        {"vcpus": guest_owner.VCPUS + 1},
        {"kernel": "other-kernel"},
        {"cmdline": guest_owner.CMDLINE + " init=/bin/sh"},
        {"cpu": "EPYC-Milan"},
    ],
    ids=lambda other: "-".join(other),
)
def test_other_guest_is_found_out_by_both(
    owner: Owner, report: Path, expected: Expectation, other: dict[str, Any]
) -> None:
    named = {k: owner.files.get(v, v) for k, v in other.items()}
    wrong = dataclasses.replace(expected, measurement=owner.expect(**named))
    assert wrong.measurement != expected.measurement
    assert wrong.by_omne_attest(report) == NOT_AS_EXPECTED
    assert wrong.by_go_sev_guest(report) == NOT_AS_EXPECTED


@pytest.mark.parametrize(
    "other",
    [
        {"host_data": hashlib.sha256(USER_DATA + b"\n").hexdigest()},
        {"report_data": bytes(64).hex()},
    ],
    ids=["user-data", "nonce"],
)
def test_other_words_are_found_out_by_both(
    report: Path, expected: Expectation, other: dict[str, str]
) -> None:
    wrong = dataclasses.replace(expected, **other)
    assert wrong.by_omne_attest(report) == NOT_AS_EXPECTED
    assert wrong.by_go_sev_guest(report) == NOT_AS_EXPECTED


def test_other_id_key_is_found_out(report: Path, expected: Expectation) -> None:
    other = owners_keys.digest(owners_keys.AUTHOR_KEY)
    wrong = dataclasses.replace(expected, id_key=other)
    assert wrong.by_go_sev_guest(report) == NOT_AS_EXPECTED


def test_other_root_is_found_out_by_both(
    report: Path, expected: Expectation, tmp_path: Path
) -> None:
    root = tmp_path / "cert_chain.pem"
    root.write_bytes(keys.load_or_make(tmp_path / "another-host").chain)
    wrong = dataclasses.replace(expected, root=root)
    assert wrong.by_omne_attest(report) == BAD_SIGNATURE
    assert wrong.by_go_sev_guest(report) == BAD_SIGNATURE


#: Of GUEST_SVN, MEASUREMENT, CHIP_ID and the signature.
@pytest.mark.parametrize("byte", [0x4, 0x90, 0x1A0, 0x2A0])
def test_flipped_byte_is_found_out_by_both(
    report: Path, expected: Expectation, tmp_path: Path, byte: int
) -> None:
    data = bytearray((report / "report.bin").read_bytes())
    data[byte] ^= 1
    (tmp_path / "report.bin").write_bytes(data)
    (tmp_path / "vcek.pem").write_bytes((report / "vcek.pem").read_bytes())
    assert expected.by_omne_attest(tmp_path) == BAD_SIGNATURE
    assert expected.by_go_sev_guest(tmp_path) == BAD_SIGNATURE


@pytest.fixture
def liar(owner: Owner) -> Iterator[None]:
    """Its libvirt and nova-compute see one firmware, and its QEMU launches another."""
    host = owner.cloud.cloud.hosts[0]
    host.set(other_snp_firmware=str(owner.files["other-firmware"]))
    yield
    host.set(other_snp_firmware="")


@pytest.mark.usefixtures("liar")
def test_host_that_lies_about_its_firmware_is_found_out_by_both(
    owner: Owner, image: str, expected: Expectation
) -> None:
    unsigned = owner.inputs(expected.measurement, signed=False)
    server = owner.boot("deceived", image, unsigned)
    assert server.status == "ACTIVE", server.fault
    # It says what its owner expects.
    assert server.metadata["sev:launched_digest"] == expected.measurement
    assert owner.show(server)[0] == 0
    report = owner.report(server)
    assert expected.by_omne_attest(report) == NOT_AS_EXPECTED
    assert expected.by_go_sev_guest(report) == NOT_AS_EXPECTED
    owner.cloud.delete(server)


@pytest.mark.usefixtures("liar")
def test_id_block_stops_a_host_that_lies(
    owner: Owner, image: str, expected: Expectation
) -> None:
    server = owner.boot("stopped", image, owner.inputs(expected.measurement))
    assert server.status == "ERROR"
    said = "SNP_LAUNCH_FINISH ret=-5 fw_error=11 'Bad measurement'"
    assert said in owner.cloud.log()
    owner.cloud.delete(server)
