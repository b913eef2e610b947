# SPDX-License-Identifier: Apache-2.0
"""launch_digests: where a guest's owner needs another digest for another host."""

from __future__ import annotations

import pytest
from a_cloud import BROKEN, REFUSED, SEV, cloud

from sev_driver.doctor.cloud import launch_digests
from sev_driver.doctor.cloud.facts import CloudSlots, Compute, Pool
from sev_driver.doctor.findings import Finding, Verdict

A, B = "CUSTOM_SEV_FIRMWARE_AAAAAAAAAAAA", "CUSTOM_SEV_FIRMWARE_BBBBBBBBBBBB"
PASS, WARN, FAIL, SKIP = Verdict


def pool(host: str, firmware: str = "", total: int = 5) -> Pool:
    return Pool(f"{host}_amd_sev_snp", host, total, 0, 0, firmware=firmware)


def slots(*pools: Pool) -> CloudSlots:
    return CloudSlots(pools, frozenset(each.root for each in pools))


def compute(host: str, model: str = "") -> Compute:
    models = {host: model} if model else {}
    return Compute(host, True, True, nodes=(host,), cpu_models=models)


def found(check: str, *pools: Pool, computes: tuple[Compute, ...] = ()) -> Finding:
    given = cloud(slots=slots(*pools), computes=computes)
    findings = launch_digests.check_hosts(given)
    return next(each for each in findings if each.check.id == f"host.{check}")


@pytest.mark.parametrize(
    ("pools", "verdict", "said"),
    [
        ((pool("n1", A), pool("n2", A)), PASS, f"have the guest firmware of {A}"),
        ((pool("n1", A), pool("n2")), PASS, f"of {A}; not known: n2"),
        ((pool("n1"), pool("n2")), SKIP, "no trait that names their guest firmware: n"),
        (
            (pool("n1", A), pool("n2", B), pool("n3", A), pool("n4")),
            WARN,
            "2 guest firmwares: AAAAAAAAAAAA on n1, n3; BBBBBBBBBBBB on n2; not known: "
            "n4; a guest has",
        ),
        # A host that offers no slot launches no guest.
        ((pool("n1", A), pool("n2", B, total=0)), PASS, f"of {A}"),
    ],
)
def test_guest_firmware(pools: tuple[Pool, ...], verdict: Verdict, said: str) -> None:
    finding = found("firmware", *pools)
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding
    assert bool(finding.remedy) is (verdict is WARN)


@pytest.mark.parametrize(
    ("models", "verdict", "said"),
    [
        (("EPYC-Milan", "EPYC-Milan"), PASS, "of one kind: EPYC-Milan on n1, n2"),
        # The signature counts, not the name.
        (("EPYC", "EPYC-IBPB"), PASS, "EPYC on n1; EPYC-IBPB on n2"),
        (("EPYC-Milan", ""), PASS, "EPYC-Milan on n1; not known: n2"),
        (("", ""), SKIP, "names no processor of hosts with AMD SEV-SNP: n1, n2"),
        (("EPYC-Milan", "EPYC-Genoa"), WARN, "EPYC-Milan on n1; EPYC-Genoa on n2;"),
        (("EPYC-Venice", "EPYC-Genoa"), WARN, "different processors"),
    ],
)
def test_processor(models: tuple[str, str], verdict: Verdict, said: str) -> None:
    computes = tuple(map(compute, ("n1", "n2"), models))
    finding = found("cpu", pool("n1"), pool("n2"), computes=computes)
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding
    assert bool(finding.remedy) is (verdict is WARN)


def test_processor_of_hosts_that_these_credentials_do_not_see() -> None:
    given = cloud(slots=slots(pool("n1")), computes=REFUSED)
    *_, finding = launch_digests.check_hosts(given)
    assert (finding.verdict, finding.seen) == (SKIP, REFUSED.reason)


def test_cloud_without_snp_is_not_mentioned() -> None:
    for other in (slots(SEV), BROKEN):
        assert not list(launch_digests.check_hosts(cloud(slots=other)))
