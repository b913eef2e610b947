# SPDX-License-Identifier: Apache-2.0
"""owner_inputs: a plan says of launch inputs what the driver would."""

from __future__ import annotations

import base64
import hashlib

import owners_keys
import pytest
from a_cloud import ON, REFUSED, cloud, flavor, image

from sev_driver.doctor.cloud import plan as dry_run
from sev_driver.doctor.cloud.compatibility import FindingBuilder
from sev_driver.doctor.cloud.facts import CloudSlots, Pool, Unavailable
from sev_driver.doctor.cloud.owner_inputs import ServerParts, check_required_firmware
from sev_driver.doctor.findings import Verdict

SNP = ON | {"hw:mem_encryption_model": "amd-sev-snp"}
STATELESS = {"hw_firmware_type": "uefi", "hw_firmware_stateless": "true"}
HOST_DATA = "ab" * 32
SIGNED = owners_keys.as_metadata(*owners_keys.sign())
OTHER_POLICY = owners_keys.as_metadata(*owners_keys.sign(policy=0xB0000))
DATA = b"#cloud-config\n"


def run(
    metadata: dict[str, str],
    specs: dict[str, str] | None = None,
    properties: dict[str, str] | None = None,
    user_data: bytes | None = None,
) -> dry_run.DryRun:
    return dry_run.run(
        flavor(SNP | (specs or {})),
        image(STATELESS | (properties or {})).asked,
        cloud(slots=REFUSED),
        REFUSED,
        ServerParts(metadata, user_data),
    )


def said(plan: dry_run.DryRun) -> list[str]:
    """What is said of launch inputs: between who asks, and the hosts."""
    words = [f"{f.verdict.value} {f.check.id}" for f in plan.findings]
    assert words[0] == "pass plan.asks" and words[-1] == "skip plan.read"
    return [word.replace("plan.", "") for word in words[1:-1]]


FINE = ["pass inputs", "skip inputs-on-host"]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (run({}), []),
        (run({"other": "x"}), []),
        (run({"sev:host_data": HOST_DATA}), FINE),
        (run({}, {"sev:policy": "0x30000"}), FINE),
        (run({}, None, {"sev_host_data": HOST_DATA}), FINE),
        (run({"sev:host_data": "user_data"}, user_data=DATA), FINE),
        (run({"sev:host_data": "user_data"}), ["fail owner-input"]),
        (run(SIGNED | {"sev:policy": "0x30000"}), FINE),
        (run({"sev:hostdata": HOST_DATA}), ["fail owner-input"]),
        # All faults at once.
        (
            run({"sev:host_data": "ab", "sev:policy": "x", "sev:id_block": "x"}),
            ["fail owner-input"] * 3,
        ),
        (run(OTHER_POLICY | {"sev:policy": "0x30000"}), ["fail id-block"]),
        # What an option of the host decides.
        (
            run({"sev:policy": "0xb0000"}),
            ["pass inputs", "warn allow-debug", "skip inputs-on-host"],
        ),
        *(
            (run(signed), ["pass inputs", "warn host-policy", "skip inputs-on-host"])
            for signed in (SIGNED, OTHER_POLICY)
        ),
    ],
)
def test_inputs(plan: dry_run.DryRun, expected: list[str]) -> None:
    assert said(plan) == expected
    failed = any(word.startswith("fail") for word in expected)
    assert plan.exit_status == int(failed)
    for finding in plan.findings:
        wrong = finding.verdict in (Verdict.FAIL, Verdict.WARN)
        assert bool(finding.remedy) is wrong


def test_words_are_the_drivers_own() -> None:
    plan = run({"sev:host_data": "ab"})
    (finding,) = (f for f in plan.findings if f.verdict is Verdict.FAIL)
    assert finding.seen == (
        "sev:host_data of the server has 1 bytes, but AMD SEV-SNP takes 32 bytes"
    )


def test_domain_has_the_inputs() -> None:
    plan = run(
        {"sev:host_data": "user_data", "sev:policy": "0x1030000"}, None, {}, DATA
    )
    assert plan.sketch is not None
    domain = plan.sketch.xml
    bound = hashlib.sha256(DATA).digest()
    assert "<policy>0x01030000</policy>" in domain
    assert f"<hostData>{base64.b64encode(bound).decode()}<" in domain


@pytest.mark.parametrize(
    ("policy", "unseen"),
    [("0x30000", 1), ("0x20000", 2), ("0x130000", 2)],
)
def test_policy_that_not_every_host_can_keep(policy: str, unseen: int) -> None:
    *_, finding, _ = run({"sev:policy": policy}).findings
    assert finding.check.id == "plan.inputs-on-host"
    assert finding.seen.count("whether") == unseen


@pytest.mark.parametrize(
    ("specs", "encrypted"),
    [
        ({}, "the guest is not encrypted"),
        (ON, "the guest is encrypted with AMD SEV"),
        (
            ON | {"hw:mem_encryption_model": "intel-tdx"},
            "the guest is encrypted with Intel TDX",
        ),
    ],
)
def test_inputs_of_a_guest_without_snp(specs: dict[str, str], encrypted: str) -> None:
    server = ServerParts({"sev:host_data": HOST_DATA})
    plan = dry_run.run(flavor(specs), None, cloud(), REFUSED, server)
    (finding,) = (f for f in plan.findings if f.check.id == "plan.not-snp")
    assert finding.verdict is Verdict.FAIL and plan.exit_status == 1
    assert finding.seen.endswith(encrypted)


A = "CUSTOM_SEV_FIRMWARE_AAAAAAAAAAAA"
B = "CUSTOM_SEV_FIRMWARE_BBBBBBBBBBBB"
SLOTS = CloudSlots(
    (
        Pool("n1_amd_sev_snp", "n1", 5, 0, 0, firmware=A),
        Pool("n2_amd_sev_snp", "n2", 5, 0, 0),
    ),
    frozenset({"n1", "n2"}),
)
SUBJECT = FindingBuilder("plan", "guest", "x")


@pytest.mark.parametrize(
    ("required", "slots", "expected"),
    [
        ({A, "X"}, SLOTS, ["pass: the guest firmware of " + A + " is on n1"]),
        ({B}, SLOTS, ["fail: no host has the guest firmware of " + B]),
        (
            {B},
            CloudSlots((), frozenset()),
            ["fail: no host has the guest firmware of "],
        ),
        ({"X"}, SLOTS, []),
        ({A}, REFUSED, []),
    ],
)
def test_required_firmware(
    required: set[str], slots: CloudSlots | Unavailable, expected: list[str]
) -> None:
    found = list(check_required_firmware(required, slots, SUBJECT))
    for finding, words in zip(found, expected, strict=True):
        assert f"{finding.verdict.value}: {finding.seen}".startswith(words)


def test_required_firmware_of_an_image_is_looked_for() -> None:
    asked = image(STATELESS | {f"trait:{B}": "required"}).asked
    plan = dry_run.run(flavor(SNP), asked, cloud(slots=SLOTS), REFUSED)
    (finding,) = (f for f in plan.findings if f.check.id == "plan.firmware")
    assert finding.verdict is Verdict.FAIL and plan.exit_status == 1
    assert finding.seen.endswith(f"the hosts have {A}")
