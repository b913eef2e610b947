# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from a_cloud import REFUSED, UEFI, cloud, image

from sev_driver.doctor.cloud import catalog, report, unreadable_models
from sev_driver.doctor.cloud.facts import Server
from sev_driver.doctor.findings import Verdict

MODEL = "hw_mem_encryption_model"
SNP = image(UEFI | {MODEL: "amd-sev-snp"}, "snp")


@pytest.mark.parametrize(
    ("nova", "value", "verdict", "numbers"),
    [
        (27, "amd-sev-snp", Verdict.WARN, "32 and 33"),
        (31, "amd-sev-snp", Verdict.WARN, "32 and 33"),
        (31, "intel-tdx", Verdict.WARN, "32 and 33"),
        (31, "sev-snp", Verdict.WARN, "32 and 33 and 34"),
        (32, "amd-sev-snp", Verdict.FAIL, "32 and 33"),
        (33, "amd-sev-snp", Verdict.FAIL, "33"),
        (34, "sev-snp", Verdict.FAIL, "34"),
    ],
)
def test_image_that_a_release_cannot_read_is_named(
    nova: int, value: str, verdict: Verdict, numbers: str
) -> None:
    found = catalog.check_images(
        cloud(nova=nova, images=(image(UEFI | {MODEL: value}),))
    )
    (finding,) = [f for f in found if f.check.id == "image.unreadable"]
    assert finding.verdict is verdict
    assert f"{MODEL}={value}, which Nova {numbers} cannot read" in finding.seen
    assert finding.remedy.startswith(f"openstack image unset --property {MODEL} 2")


@pytest.mark.parametrize(
    ("nova", "value"),
    [(27, "amd-sev"), (31, "amd-sev-es"), (33, "amd-sev-es"), (34, "amd-sev-snp")],
)
def test_image_that_every_later_release_reads_passes(nova: int, value: str) -> None:
    found = catalog.check_images(
        cloud(nova=nova, images=(image(UEFI | {MODEL: value}),))
    )
    assert "image.unreadable" not in [f.check.id for f in found]


def test_servers_are_found_by_their_image_and_by_what_nova_keeps() -> None:
    servers = (
        Server("1", "by-image", SNP.id),
        Server("2", "kept", "gone", "amd-sev-snp"),
        Server("3", "plain", "5"),
        Server("4", "es", SNP.id, "amd-sev-es"),
        Server("5", "of-a-volume"),
    )
    small = cloud(nova=31, images=(SNP,), servers=servers)
    (finding,) = unreadable_models.check_servers(small)
    assert finding.seen.startswith("by-image, kept have hw_mem_encryption_model=amd-")
    assert finding in report.check_cloud(small)
    assert "Servers" in report.cloud_text(small, report.check_cloud(small))


def test_servers_that_may_not_be_seen_are_skipped() -> None:
    (finding,) = unreadable_models.check_servers(cloud(servers=REFUSED))
    assert finding.verdict is Verdict.SKIP


def test_nothing_is_said_of_servers_where_all_is_well() -> None:
    fine = cloud(servers=(Server("1", "plain"),))
    assert "Servers" not in report.cloud_text(fine, report.check_cloud(fine))
