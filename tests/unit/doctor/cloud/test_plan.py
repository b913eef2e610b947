# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
from a_cloud import BROKEN, ON, REFUSED, SLOTS, UEFI, cloud, flavor, image

from sev_driver.doctor.cloud import plan as dry_run
from sev_driver.doctor.cloud.facts import Unavailable

ANSWERS = dry_run.PlacementAnswers(
    {
        "allocation_requests": [
            {"allocations": {"sev": {"resources": {"MEM_ENCRYPTION_CONTEXT": 1}}}}
        ],
        "provider_summaries": {"sev": {"root_provider_uuid": "node1"}},
    },
    {},
)
NOBODY = dry_run.PlacementAnswers({}, {})


def run(
    specs: dict[str, str],
    properties: dict[str, str] | None = None,
    answers: dry_run.PlacementAnswers | Unavailable = ANSWERS,
    **parts: Any,
) -> dry_run.DryRun:
    picture = None if properties is None else image(properties).asked
    names = {"sev": "node1_amd_sev"}
    slots = parts.pop("slots", SLOTS.__class__(SLOTS.pools, SLOTS.nodes, names=names))
    return dry_run.run(flavor(specs), picture, cloud(slots=slots, **parts), answers)


@pytest.mark.parametrize(
    ("plan", "expected", "drawn"),
    [
        (run(ON, UEFI), ["pass asks", "pass hosts"], True),
        (run(ON), ["pass asks", "skip image", "pass hosts"], True),
        (run(ON, UEFI, NOBODY), ["pass asks", "fail hosts"], True),
        (run(ON, UEFI, REFUSED), ["pass asks", "skip read"], True),
        (run(ON, UEFI, slots=REFUSED), ["pass asks", "skip read"], True),
        (run(ON, UEFI, BROKEN), ["pass asks", "fail read"], True),
        (run({}, {}), ["fail asks"], False),
        (
            run({"hw:mem_encyption": "true"}, UEFI),
            ["warn spelling", "fail asks"],
            False,
        ),
        (
            run(ON | {"hw:mem_encryption_modle": "amd-sev-es"}, UEFI),
            ["pass asks", "fail spelling"],
            False,
        ),
        (run(ON | {"hw:mem_encryption_model": "intel-tdx"}), ["skip foreign"], False),
        (
            run(ON | {"hw:mem_page_size": "large"}, UEFI),
            ["pass asks", "skip left-out", "pass hosts"],
            True,
        ),
        (run(ON | {"resources:VCPU": "x"}, UEFI), ["fail amount"], False),
        (
            run(ON, {"hw_machine_type": "pc", "hw_disk_bus": "usb"}),
            ["pass asks", "fail machine-type", "fail firmware-type", "fail boot-bus"],
            False,
        ),
        (
            run(ON | {"hw:pmem": "4GB"}, UEFI),
            ["pass asks", "skip left-out", "pass hosts"],
            True,
        ),
        (run(ON, UEFI, nova=31), ["pass asks", "pass hosts"], True),
    ],
)
def test_a_dry_run(plan: dry_run.DryRun, expected: list[str], drawn: bool) -> None:
    told = [f"{f.verdict.value} {f.check.id.partition('.')[2]}" for f in plan.findings]
    assert told == expected
    fails = any(text.startswith("fail") for text in told)
    assert plan.exit_status == (fails or plan.request is None)
    assert (plan.sketch is not None) is drawn


def test_who_asks_is_named() -> None:
    first, *_ = run(ON, UEFI | {"hw_mem_encryption": "true"}).findings
    assert first.seen == (
        "hw:mem_encryption of flavor m1.sev and hw_mem_encryption of image debian asks "
        "for AMD SEV"
    )


def test_the_only_host_says_why_not() -> None:
    *_, hosts = run(ON, UEFI, NOBODY).findings
    assert hosts.seen.startswith("the only host, node1, would not take it: ")
